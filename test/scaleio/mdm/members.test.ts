import t from "tap";
import { Mdm } from "../../../src/scaleio/mdm/mdm.ts";
import { testLives } from "../../helpers/lives.ts";
import { randomOf } from "../../helpers/random.ts";
import { type Illness, SimulatedMembers } from "./simulated-members.ts";
import { create, founded, Simulation, volume } from "./simulation.ts";

const MEMBERS = ["/mdm/1", "/mdm/2", "/mdm/3"];
const names = (mdm: Mdm) => [...mdm.state.volumes.values()].map(({ name }) => name).join();

/** Answers the state; what was thrown as its code. */
async function open(disk: SimulatedMembers): Promise<{ mdm?: Mdm; code?: string }> {
  try {
    return { mdm: await Mdm.open(MEMBERS, { log: () => undefined, files: disk }) };
  } catch (error) {
    return { code: (error as { code?: string }).code ?? "killed" };
  }
}

async function opened(disk: SimulatedMembers): Promise<Mdm> {
  const { mdm, code } = await open(disk);
  if (mdm === undefined) throw new Error(code);
  return mdm;
}

/** Members that all have v1, acknowledged. */
async function world(): Promise<{ disk: SimulatedMembers; mdm: Mdm }> {
  const disk = new SimulatedMembers(randomOf(1));
  const mdm = await opened(disk);
  await mdm.commit(founded);
  await mdm.commit(create(1));
  return { disk, mdm };
}

/** All ways to have one of `from` three times. */
const threes = <T>(from: readonly T[]): [T, T, T][] =>
  from.flatMap((a) => from.flatMap((b) => from.map((c): [T, T, T] => [a, b, c])));

const STATES = ["has v2", "lacks it", "torn in it", "lost", "corrupt"] as const;
type State = (typeof STATES)[number];

/** A maker of members in these states. */
async function makeStates(): Promise<(states: readonly State[]) => SimulatedMembers> {
  const { disk, mdm } = await world();
  const [before] = MEMBERS.map((member) => disk.copy(member));
  const length = before?.get("/mdm/1/log")?.length ?? 0;
  await mdm.commit(create(2));
  const [after] = MEMBERS.map((member) => disk.copy(member));
  return (states) => {
    const made = new SimulatedMembers(randomOf(2));
    for (const [i, state] of states.entries()) {
      const member = MEMBERS[i] as string;
      const files = state === "lost" ? undefined : state === "lacks it" ? before : after;
      if (files !== undefined) made.putBack(member, files);
      if (state === "torn in it") made.tear(`${member}/log`, length + 50);
      if (state === "corrupt") made.rot(`${member}/snapshot.json`);
    }
    return made;
  };
}

const readable = (states: readonly State[]) => states.filter((state) => state !== "lost" && state !== "corrupt");

t.test("three members in every combination of states", async (t) => {
  const make = await makeStates();
  for (const states of threes(STATES)) {
    const what = states.join(", ");
    const { mdm, code } = await open(make(states));
    const sound = readable(states);
    const there = sound.includes("has v2") ? "v1,v2" : "v1";
    if (sound.length >= 2) {
      if (mdm?.isCurrent !== true || names(mdm) !== there)
        t.fail(`${what}: ${code ?? names(mdm as Mdm)}, not ${there}`);
    } else if (sound.length === 1) {
      if (mdm?.isCurrent !== false || names(mdm) !== there) t.fail(`${what}: it goes by one member`);
      else
        await t.rejects(mdm.commit(create(3)), { code: "no_quorum", message: /may be old.*bring a second one/ }, what);
    } else if (states.includes("corrupt") && code !== "state_corrupt") t.fail(`${what}: ${code}`);
  }
  t.pass("125 combinations");
});

t.test("and who starts with them is killed at every step, and then a member is lost", { timeout: 0 }, async (t) => {
  const make = await makeStates();
  let starts = 0;
  for (const states of threes(STATES).filter((states) => readable(states).length >= 2)) {
    for (let kill = 0; ; kill++) {
      const disk = make(states);
      disk.killAfter = kill;
      if ((await open(disk)).mdm !== undefined && !disk.dead) break;
      if (kill % 2 === 0) disk.powerLoss();
      else disk.crash();
      // Who is lost now must not be the second of those who could have acknowledged v2.
      const lost = kill % 3;
      const rest = states.filter((_, member) => member !== lost);
      if (readable(states).length === 3) disk.lose(MEMBERS[lost] as string);
      const sound = readable(states).length === 3 ? rest : readable(states);
      const { mdm } = await open(disk);
      const what = `${states.join(", ")}; killed at step ${kill}, without ${lost + 1}`;
      if (mdm?.isCurrent !== true) t.fail(`${what}: no quorum`);
      else {
        const verdict = names(mdm);
        if (!verdict.startsWith("v1")) t.fail(`${what}: v1 is missing`);
        if (sound.includes("has v2") && verdict !== "v1,v2") t.fail(`${what}: v2 is missing`);
        await mdm.close();
        disk.powerLoss();
        disk.lose(MEMBERS[(kill + 1) % 3] as string);
        const last = (await open(disk)).mdm;
        if (last?.isCurrent !== true || names(last) !== verdict) t.fail(`${what}: then it is another`);
      }
      starts++;
    }
  }
  t.pass(`${starts} starts`);
});

t.test("the very first start is killed at every step", async (t) => {
  for (let kill = 0; ; kill++) {
    const disk = new SimulatedMembers(randomOf(kill));
    disk.killAfter = kill;
    const { mdm } = await open(disk);
    const [said] = await Promise.allSettled([mdm?.commit(founded)]);
    const over = mdm !== undefined && said.status === "fulfilled";
    if (kill % 2 === 0) disk.powerLoss();
    else disk.crash();
    const next = await opened(disk);
    if (!next.isCurrent) t.fail(`step ${kill}: no quorum`);
    if (over && next.state.systemId === "") t.fail(`step ${kill}: what was founded is missing`);
    await next.commit(founded);
    if (over) break;
  }
  t.pass("it is begun again");
});

const ILLNESSES: readonly (Illness | "")[] = ["", "full", "no-sync", "no-truncate", "unreadable"];

t.test("a change with disks in every combination of illnesses, killed at every step", { timeout: 0 }, async (t) => {
  let changes = 0;
  for (const ill of threes(ILLNESSES)) {
    for (let kill = 0; ; kill++) {
      const { disk, mdm } = await world();
      for (const [i, illness] of ill.entries()) if (illness !== "") disk.ill.set(MEMBERS[i] as string, illness);
      disk.killAfter = kill;
      const [answer] = await Promise.allSettled([mdm.commit(create(2))]);
      const killed = disk.dead;
      const said = killed
        ? "nothing"
        : answer.status === "fulfilled"
          ? "yes"
          : (answer.reason as { code: string }).code;
      if (kill % 2 === 0) disk.powerLoss();
      else disk.crash();
      disk.ill.clear();
      disk.lose(MEMBERS[kill % 3] as string);
      const next = (await open(disk)).mdm;
      const what = `${ill.map((illness) => illness || "well").join(", ")}; step ${kill}: ${said}`;
      if (next?.isCurrent !== true) t.fail(`${what}: no quorum`);
      else if (said === "yes" && names(next) !== "v1,v2") t.fail(`${what}: v2 is missing`);
      else if (said === "no_quorum" && names(next) !== "v1") t.fail(`${what}: v2 is there`);
      changes++;
      if (!killed) break;
    }
  }
  t.pass(`${changes} changes`);
});

t.test("seeded lives of members that are lost, rot, are full, come back, several at once", { timeout: 0 }, (t) =>
  testLives(t, Simulation, 60),
);

t.test("after the loss of the newest member nothing acknowledged is missing", async (t) => {
  for (const [newest, second, lagging] of [
    [0, 1, 2],
    [1, 2, 0],
    [2, 0, 1],
  ] as const) {
    const { disk, mdm } = await world();
    await mdm.takeDown([String(lagging + 1)]);
    await mdm.commit(create(2));
    await mdm.commit({ type: "volume-removed", id: volume(1).id });
    await mdm.close();
    disk.lose(MEMBERS[newest] as string);
    const next = await opened(disk);
    t.equal(names(next), "v2", `acknowledged by ${newest + 1} and ${second + 1}, ${newest + 1} lost`);
    t.same(
      next.members().map(({ state }) => state),
      ["normal", "normal", "normal"],
    );
  }
});

t.test("without a quorum at the start: nothing but reading, until a second member is back", async (t) => {
  const { disk, mdm } = await world();
  await mdm.takeDown(["3"]);
  await mdm.commit(create(2));
  await mdm.close();
  disk.away.add(MEMBERS[0] as string).add(MEMBERS[1] as string);
  const next = await opened(disk);
  t.equal(next.isCurrent, false);
  t.equal(names(next), "v1", "what the third one knows");
  await next.repair();
  t.equal(next.isCurrent, false);
  await t.rejects(next.commit(create(9)), { code: "no_quorum", message: /member 1: its files are lost/ });
  disk.away.delete(MEMBERS[0] as string);
  await next.repair();
  t.equal(next.isCurrent, true);
  t.equal(names(next), "v1,v2");
  await next.commit(create(3));
  disk.away.clear();
  await next.repair();
  t.same(
    next.members().map(({ state }) => state),
    ["normal", "normal", "normal"],
  );
});

t.test("what was refused is not there after a start", async (t) => {
  const { disk, mdm } = await world();
  for (const member of MEMBERS.slice(1)) disk.ill.set(member, "full");
  await t.rejects(mdm.commit(create(2)), { code: "no_quorum", message: /member 2: ENOSPC.*member 3: ENOSPC/ });
  disk.ill.clear();
  t.equal(names(await opened(disk)), "v1");

  await t.test("and when it cannot be taken back, its caller hears so", async (t) => {
    const { disk, mdm } = await world();
    disk.ill.set("/mdm/1", "no-truncate");
    for (const member of MEMBERS.slice(1)) disk.ill.set(member, "full");
    await t.rejects(mdm.commit(create(2)), { code: "in_doubt", message: /look whether it has been made/ });
    t.equal(names(mdm), "v1");
    disk.ill.clear();
    const other = new SimulatedMembers(randomOf(3));
    for (const member of MEMBERS) other.putBack(member, disk.copy(member));
    t.equal(names(await opened(other)), "v1,v2", "another process finds it");
    await mdm.repair();
    await mdm.commit(create(3));
    t.equal(names(await opened(disk)), "v1,v3", "if this one does not go on before");
  });
});
