import t from "tap";
import { testLives } from "../../helpers/lives.ts";
import { Simulation } from "./space-simulation.ts";

t.test("lives of a thin volume on devices that become full: it takes what was written, and loses nothing", (t) =>
  testLives(t, Simulation, 60),
);
