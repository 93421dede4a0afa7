import type { Command } from "commander";

type Example = readonly [words: string, help: string];

/** What the program's own help shows. */
const FIRST: readonly Example[] = [
  ["rexray-sim up", "start here, Ctrl-C stops"],
  ["rexray-sim up --detach", "start in the background"],
  ["docker volume create -d rexray-sim -o size=16 pg", "make a volume"],
  ["rexray-sim status", "see everything on one screen"],
  ["rexray-sim volume inspect pg", "see which nodes hold it"],
  ["rexray-sim sds stop sds-1", "take a node down under it"],
  ["rexray-sim doctor", "see what this machine lacks"],
  ["rexray-sim down", "stop"],
];

/** What people type, at least one line for each command. A command's help shows those that begin with its words. */
const ALL: readonly Example[] = [
  ["rexray-sim up --plugin-name ebs", "answer to another driver's name"],
  ["rexray-sim up --detach --state-dir /tmp/s --run-dir /tmp/r", "a second instance, apart from the first"],
  ["rexray-sim up --detach --json | jq .plugins", "for programs"],
  ["rexray-sim demo", "on an instance of its own, which it takes away again"],
  ["rexray-sim down --force", "stop whatever is in use"],
  ["rexray-sim status --json | jq .health", "for programs"],
  ["rexray-sim doctor --json | jq '.checks[] | select(.state != \"ok\")'", "for programs"],
  ["rexray-sim volume create pg size=16 fstype=xfs", "16 GB, with xfs on it"],
  ["rexray-sim volume ls --json | jq '.[].name'", "for programs"],
  ["rexray-sim volume inspect pg --chunks", "where every chunk lies"],
  ["rexray-sim volume resize pg 32", "to 32 GB, also while it is in use"],
  ["rexray-sim volume limit pg --iops 500", "as a slow disk"],
  ["rexray-sim volume scan pg", "find and mend silent corruption"],
  ["rexray-sim volume rm pg", "with its data"],
  ["rexray-sim snapshot create pg=pg-1 wal=wal-1", "two volumes at one instant"],
  ["rexray-sim snapshot ls", "which there are, and of what"],
  ["rexray-sim snapshot restore pg pg-1", "back to it"],
  ["rexray-sim snapshot rm pg-1 wal-1", "the volumes stay"],
  ["rexray-sim sds ls", "which nodes there are"],
  ["rexray-sim sds stop sds-2", "as if the node had lost power"],
  ["rexray-sim sds start sds-2 --wait", "back, and two good copies of everything"],
  ["rexray-sim sds maintenance sds-3", "out for a while, without a rebuild"],
  ["rexray-sim sds add sds-5 --fault-set rack-2", "a new node, which gets its share"],
  ["rexray-sim sds remove sds-1 --wait", "empty a node, then remove it"],
  ["rexray-sim sds abort-removal sds-1", "keep it after all"],
  ["rexray-sim device add sds-1 dev-2 --size 100GB", "more room"],
  ["rexray-sim device resize sds-1 dev-2 200GB", "even more"],
  ["rexray-sim device clear sds-1 dev-2", "it has failed, and has been mended"],
  ["rexray-sim device remove sds-1 dev-2 --wait", "empty it, then remove it"],
  ["rexray-sim app ls", "what runs, and why something does not"],
  ["rexray-sim agent ls", "which hosts there are"],
  ["rexray-sim agent kill agent-1", "its host is lost; its applications come up elsewhere"],
  ["rexray-sim agent start agent-1", "it is back"],
  ["rexray-sim agent stop agent-2", "it leaves in order"],
  ["rexray-sim events --follow", "as it happens"],
  ["rexray-sim fault types", "what there is"],
  ["rexray-sim fault add slow sds-3 ms=50", "a slow node"],
  ["rexray-sim fault add io-error sds-1/dev-1 on=read --probability 0.1", "a bad disk"],
  ["rexray-sim fault add agent-partitioned agent-1", "a host that nobody hears of"],
  ["rexray-sim fault ls", "what is on"],
  ["rexray-sim fault rm slow-1", "as good as new"],
  ["rexray-sim fault reset", "all is well again"],
  ["rexray-sim scenario run examples/node-loss.yml", "in a CI job"],
  ["rexray-sim scenario run examples/node-loss.yml --json", "each step's result, for programs"],
  ["rexray-sim install --prefix /opt/rexray-sim", "programs, systemd units, completions"],
  ["rexray-sim uninstall --purge", "the data too"],
  ["rexray-sim completion bash > /etc/bash_completion.d/rexray-sim", "without installing"],
];

/** A test runs each past the command line's parser. */
export const EXAMPLES: readonly string[] = [...FIRST, ...ALL].map(([words]) => words);

/** Adds them to the helps of a program and all its commands. */
export function addExamples(program: Command): void {
  for (const command of program.commands) addTo(command, `${program.name()} ${command.name()}`);
  addText(program, FIRST, "");
}

function addTo(command: Command, path: string): void {
  for (const each of command.commands) addTo(each, `${path} ${each.name()}`);
  const own = ALL.filter(([words]) => `${words} `.startsWith(`${path} `));
  if (own.length > 0) addText(command, own, "\n");
}

function addText(command: Command, examples: readonly Example[], end: string): void {
  const width = Math.max(...examples.map(([words]) => words.length));
  const lines = examples.map(([words, help]) => `  ${words.padEnd(width)}  ${help}`);
  command.addHelpText("after", `\nExamples:\n${lines.join("\n")}${end}`);
}
