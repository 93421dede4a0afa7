import type { Command } from "commander";

/** What people type, by command. Shown with the command's help; a test runs each past the command line's parser. */
export const EXAMPLES: Readonly<Record<string, readonly (readonly [string, string])[]>> = {
  "": [
    ["rexray-sim up", "start here, Ctrl-C stops"],
    ["rexray-sim up --detach", "start in the background"],
    ["docker volume create -d rexray-sim -o size=16 pg", "make a volume"],
    ["rexray-sim status", "see everything on one screen"],
    ["rexray-sim volume inspect pg", "see which nodes hold it"],
    ["rexray-sim sds stop sds-1", "take a node down under it"],
    ["rexray-sim doctor", "see what this machine lacks"],
    ["rexray-sim down", "stop"],
  ],
  up: [
    ["rexray-sim up --plugin-name ebs", "answer to another driver's name"],
    ["rexray-sim up --detach --state-dir /tmp/s --run-dir /tmp/r", "a second instance, apart from the first"],
  ],
  demo: [["rexray-sim demo", "on an instance of its own, which it takes away again"]],
  down: [["rexray-sim down --force", "stop whatever is in use"]],
  status: [["rexray-sim status --json | jq .health", "for programs"]],
  volume: [
    ["rexray-sim volume inspect pg --chunks", "where every chunk lies"],
    ["rexray-sim volume resize pg 32", "to 32 GB, also while it is in use"],
    ["rexray-sim volume limit pg --iops 500", "as a slow disk"],
    ["rexray-sim volume scan pg", "find and mend silent corruption"],
  ],
  snapshot: [
    ["rexray-sim snapshot create pg=pg-1 wal=wal-1", "two volumes at one instant"],
    ["rexray-sim snapshot restore pg pg-1", "back to it"],
  ],
  sds: [
    ["rexray-sim sds stop sds-2", "as if the node had lost power"],
    ["rexray-sim sds start sds-2 --wait", "back, and two good copies of everything"],
    ["rexray-sim sds add sds-5", "a new node, which gets its share"],
    ["rexray-sim sds remove sds-1 --wait", "empty a node, then remove it"],
  ],
  device: [
    ["rexray-sim device add sds-1 dev-2 --size 100GB", "more room"],
    ["rexray-sim device resize sds-1 dev-2 200GB", "even more"],
    ["rexray-sim device clear sds-1 dev-2", "it has failed, and has been mended"],
  ],
  agent: [
    ["rexray-sim agent kill agent-1", "its host is lost; its applications come up elsewhere"],
    ["rexray-sim agent start agent-1", "it is back"],
  ],
  app: [["rexray-sim app ls", "what runs, and why something does not"]],
  events: [["rexray-sim events --follow", "as it happens"]],
  fault: [
    ["rexray-sim fault types", "what there is"],
    ["rexray-sim fault add slow sds-3 ms=50", "a slow node"],
    ["rexray-sim fault add io-error sds-1/dev-1 on=read --probability 0.1", "a bad disk"],
    ["rexray-sim fault add agent-partitioned agent-1", "a host that nobody hears of"],
    ["rexray-sim fault reset", "all is well again"],
  ],
  install: [["rexray-sim install --prefix /opt/rexray-sim", "programs, systemd units, completions"]],
  uninstall: [["rexray-sim uninstall --purge", "the data too"]],
  completion: [["rexray-sim completion bash > /etc/bash_completion.d/rexray-sim", "without installing"]],
  scenario: [["rexray-sim scenario run examples/node-loss.yml", "in a CI job"]],
};

/** Adds them to the helps. */
export function addExamples(program: Command): void {
  for (const [name, examples] of Object.entries(EXAMPLES)) {
    const command = name === "" ? program : program.commands.find((one) => one.name() === name);
    const width = Math.max(...examples.map(([words]) => words.length));
    const lines = examples.map(([words, help]) => `  ${words.padEnd(width)}  ${help}`);
    command?.addHelpText("after", `\nExamples:\n${lines.join("\n")}${name === "" ? "" : "\n"}`);
  }
}
