/** A time (RFC 3339, or ms) as people read it, by the clock on their wall: "2026-01-02 12:03:11.250". Programs get it as it is. */
export function localTime(at: string | number): string {
  const time = new Date(at);
  const shown = new Date(time.getTime() - time.getTimezoneOffset() * 60_000);
  return Number.isNaN(shown.getTime()) ? String(at) : shown.toISOString().replace("T", " ").slice(0, -1);
}

/** "2026-01-02 12:03:11". */
export const localSecond = (at: string): string => localTime(at).slice(0, 19);

/** "12:03:11". */
export const localClock = (at: string | number): string => localTime(at).slice(11, 19);

/** "40 s", "3 min", "2 h": as exact as a guess is. */
export function duration(seconds: number): string {
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}
