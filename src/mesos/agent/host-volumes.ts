import path from "node:path";
import type { TaskInfo } from "../task.ts";
import type { Bind } from "./isolator.ts";
import { directoryInside } from "./sandbox.ts";

/** Volumes that are paths of the host; a relative one is a directory of the sandbox. Throws the task's failure. */
export function hostBinds({ volumes }: Pick<TaskInfo, "volumes">, sandbox: string): Bind[] {
  return volumes.flatMap(({ source, containerPath, mode }) => {
    if (!("hostPath" in source)) return [];
    const relative = !path.isAbsolute(source.hostPath);
    if (relative && !path.isAbsolute(containerPath))
      throw new Error(
        `hostPath '${source.hostPath}' and containerPath '${containerPath}' are both relative: make one absolute`,
      );
    if (/\n/.test(source.hostPath + containerPath))
      throw new Error("a path of a host volume holds a line break: leave it out");
    const from = relative ? directoryInside(sandbox, source.hostPath) : source.hostPath;
    const target = path.isAbsolute(containerPath) ? containerPath : directoryInside(sandbox, containerPath);
    return [{ source: from, target, readOnly: mode === "RO" }];
  });
}
