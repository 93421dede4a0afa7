import net from "node:net";

/** Whether something listens at a Unix socket. A file without a listener is what a killed process leaves behind. */
export function isLiveSocket(file: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(file);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
