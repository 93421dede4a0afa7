import net from "node:net";

const LOOPBACK = new net.BlockList();
LOOPBACK.addSubnet("127.0.0.0", 8, "ipv4");
LOOPBACK.addAddress("::1", "ipv6");

/**
 * Whether only this machine reaches an address that is listened on. Of names, `localhost` alone: what another one stands
 * for is not ours to know, and no address at all stands for every one.
 */
export function isLoopback(address: string): boolean {
  if (address.toLowerCase() === "localhost") return true;
  return net.isIP(address) !== 0 && LOOPBACK.check(address, net.isIPv6(address) ? "ipv6" : "ipv4");
}
