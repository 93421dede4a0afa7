/** Where this dvdcli differs from the original on purpose; the README shows the same rows. */
export const DEVIATIONS = [
  { case: "a driver found through a `.json` file", original: "crashes, exit 2", here: "the file is honoured" },
  {
    case: "an option without `=`",
    original: "panic and stack trace, exit 2",
    here: "a sentence that says what to write, exit 2",
  },
  {
    case: "a `null` among the plugin's volumes",
    original: "panic and stack trace, exit 2",
    here: "a sentence, exit 2",
  },
  {
    case: "`REXRAY_SIM_PLUGIN_DIR`",
    original: "unknown",
    here: "where sockets are looked for, so that instances can run side by side",
  },
  { case: "proxy variables for TCP endpoints", original: "used for hosts that are not local", here: "ignored" },
] as const;
