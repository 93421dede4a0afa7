import { type PortProbe, probePort } from "../lib/probe.ts";

// mesos-probe.js PROBE: looks once at a port of the network that this runs in; says what is wrong. Agents run this.
void probePort(JSON.parse(process.argv[2] ?? "") as PortProbe).then((why) => {
  if (why !== undefined) console.log(why);
  process.exit(why === undefined ? 0 : 1);
});
