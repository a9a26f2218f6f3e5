// Logging to stderr at LOG_LEVEL, in the form of the other services; main.py puts the process's name before each line.

const LEVELS = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"];
const least = LEVELS.indexOf(process.env.LOG_LEVEL ?? "INFO");

/**
 * @param {"DEBUG" | "INFO" | "WARNING" | "ERROR"} level How grave it is.
 * @param {string} text What there is to say.
 */
export function log(level, text) {
  if (LEVELS.indexOf(level) >= least) console.error(`${new Date().toISOString()} ${level} http-poller: ${text}`);
}
