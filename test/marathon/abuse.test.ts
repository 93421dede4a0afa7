import http from "node:http";
import net from "node:net";
import t from "tap";
import { requiresFuse } from "../helpers/requires.ts";
import { waitFor } from "../helpers/wait.ts";
import { type Answer, startWorld, stateful } from "./world.ts";

// What nobody should send: it gets an answer in Marathon's form, and does no harm.
const skip = requiresFuse();
const LISTENERS = 2000;
const JUNK: unknown[] = [
  null,
  {},
  [],
  [null],
  [[]],
  [{}],
  -1,
  1e300,
  0.5,
  true,
  "",
  "x",
  "../..",
  "a".repeat(5000),
  { a: 1 },
];

/** Marathon's own form of an error: a sentence, and for a definition that is wrong where, and what is wrong there. */
function isMarathonError({ status, body }: Pick<Answer, "status" | "body">): boolean {
  if (typeof body !== "object" || typeof body.message !== "string" || body.message === "") return false;
  if (status !== 422 || /^Invalid timestamp/.test(body.message)) return true;
  const isDetail = ({ path, errors }: { path: unknown; errors: unknown[] }) =>
    typeof path === "string" &&
    path.startsWith("/") &&
    errors.length > 0 &&
    errors.every((error) => typeof error === "string" && error !== "");
  return (
    ["Invalid JSON", "Object is not valid"].includes(body.message) &&
    body.details.length > 0 &&
    body.details.every(isDetail)
  );
}

t.test("bad input and hostile clients", { skip, timeout: 180_000 }, async (t) => {
  const world = await startWorld(t);
  const call = (method: string, url: string, body?: unknown) => world.call(method, url, body);
  const said = () => world.sim.said;

  t.test("every field of a definition with values of every kind", async (t) => {
    const whole: Record<string, unknown> = {
      ...stateful("/f", "vf"),
      args: ["x"],
      constraints: [["hostname", "UNIQUE"]],
      fetch: [{ uri: "/x" }],
      healthChecks: [{ protocol: "HTTP" }],
      readinessChecks: [{}],
      dependencies: ["/other"],
      labels: {},
      networks: [{ mode: "host" }],
      portDefinitions: [{ port: 0 }],
      unreachableStrategy: {},
      env: {},
      secrets: {},
    };
    const statuses = new Map<number, number>();
    let asked = 0;
    const check = async (definition: unknown, what: string) => {
      const answer = await call("POST", "/v2/groups?dryRun=true&force=true", { apps: [definition] });
      const post = await call("PUT", "/v2/groups/fuzz?dryRun=true", { id: "/fuzz", apps: [definition] });
      for (const one of [answer, post]) {
        asked++;
        statuses.set(one.status, (statuses.get(one.status) ?? 0) + 1);
        const fine = one.status < 400 || (one.status < 500 && isMarathonError(one));
        if (!fine) t.fail(`${what}: ${one.status} ${JSON.stringify(one.body)}`);
      }
    };
    const volumes = (whole["container"] as { volumes: Record<string, unknown>[] }).volumes;
    for (const junk of JUNK) {
      for (const field of Object.keys(whole))
        await check({ ...whole, [field]: junk }, `${field}=${JSON.stringify(junk)}`);
      for (const field of ["containerPath", "mode", "external", "hostPath", "persistent"])
        await check({ ...whole, container: { type: "MESOS", volumes: [{ ...volumes[0], [field]: junk }] } }, field);
      for (const field of ["name", "provider", "size", "options", "shared"]) {
        const external = { ...(volumes[0]?.["external"] as object), [field]: junk };
        await check({ ...whole, container: { type: "MESOS", volumes: [{ ...volumes[0], external }] } }, field);
      }
      await check(junk, "a definition");
    }
    t.ok((statuses.get(422) ?? 0) > asked / 3, `${asked} asked: ${JSON.stringify([...statuses])}`);
    t.same((await call("GET", "/v2/apps")).body.apps, [], "and nothing has come of it");
  });

  t.test("bodies of the wrong kind, for every order", async (t) => {
    const deep = Array.from({ length: 2000 }).reduce<object>((inner) => ({ groups: [inner] }), {});
    const orders = [
      ["POST", "/v2/apps"],
      ["PUT", "/v2/apps"],
      ["PATCH", "/v2/apps"],
      ["PUT", "/v2/apps/x"],
      ["PATCH", "/v2/apps/x"],
      ["POST", "/v2/groups"],
      ["PUT", "/v2/groups/x"],
      ["POST", "/v2/tasks/delete"],
    ] as const;
    for (const [method, url] of orders)
      for (const body of [
        ...JUNK,
        deep,
        { apps: 5 },
        { groups: 5 },
        { apps: [5] },
        { ids: [null] },
        { ids: 5 },
        { scaleBy: -1 },
      ]) {
        const { status, body: answer } = await call(method, `${url}?dryRun=true`, JSON.stringify(body));
        if (status >= 500 || (status >= 400 && !isMarathonError({ status, body: answer })))
          t.fail(`${method} ${url} ${JSON.stringify(body).slice(0, 100)}: ${status} ${JSON.stringify(answer)}`);
      }
    t.equal((await call("POST", "/v2/apps", { id: "/big", cmd: "x".repeat(6 * 1024 * 1024) })).status, 413);
    for (const path of [
      "/v2/apps/%E0%A4%A",
      "/v2/groups/%zz",
      "/v2/apps/%00",
      "/v2/apps/x/versions/%00",
      `/v2/apps/${"x".repeat(9000)}`,
    ])
      t.ok((await call("GET", path)).status < 500, path.slice(0, 30));
    for (const query of ["?label[a]=1", "?cmd=a&cmd=b", "?embed[x][y]=1", "?label=a%20in%20("])
      t.equal((await call("GET", `/v2/apps${query}`)).status, 200, query);
    for (const path of [
      "/files/read?path=/etc/passwd",
      "/files/read?path=%00",
      "/files/browse?path=",
      "/files/download?path[]=x",
      "/tasks?limit=x&offset=-5",
      "/agent/x/state",
      "/nothing",
    ]) {
      const response = await fetch(`${world.mesos}${path}`);
      const text = await response.text();
      t.ok(response.status < 500 && !text.includes("root:"), `${path}: ${response.status}`);
    }
  });

  t.test("clients that do not go on, and listeners by the thousand", async (t) => {
    const { hostname, port } = new URL(world.marathon);
    const idle = Array.from({ length: 200 }, (_, i) => {
      const socket = net.connect(Number(port), hostname);
      socket.on("error", () => undefined);
      socket.write(
        i % 2 === 0 ? "POST /v2/ap" : "POST /v2/apps HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{",
      );
      return socket;
    });
    let told = 0;
    const agent = new http.Agent({ maxSockets: Number.POSITIVE_INFINITY });
    const listeners = await Promise.all(
      Array.from(
        { length: LISTENERS },
        (_, i) =>
          new Promise<http.ClientRequest>((resolve, reject) => {
            const headers = { accept: "text/event-stream" };
            const request = http.get(`${world.marathon}/v2/events`, { headers, agent }, (response) => {
              // Half of them do not read.
              if (i % 2 === 0)
                response.on("data", (part: Buffer) => (told += Number(part.includes("deployment_success"))));
              response.on("error", () => undefined);
              resolve(request);
            });
            request.on("error", reject);
          }),
      ),
    );
    t.equal((await call("POST", "/v2/apps", { id: "/quick", cmd: "exec sleep 1000", cpus: 0.1, mem: 16 })).status, 201);
    await world.runs("/quick");
    await waitFor(() => told >= LISTENERS / 2, { what: "all to be told" });
    for (const one of listeners) one.destroy();
    for (const socket of idle) socket.destroy();
    agent.destroy();
    await call("DELETE", "/v2/apps/quick");
    await waitFor(async () => (await call("GET", "/v2/apps")).body.apps.length === 0, { what: "the end of it" });
    t.notMatch(said(), /Error/);
  });
});
