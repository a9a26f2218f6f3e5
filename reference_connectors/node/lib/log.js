// Lines on stderr, from a level on.
const LEVELS = { DEBUG: 10, INFO: 20, WARNING: 30, ERROR: 40, CRITICAL: 50 };
let least = LEVELS.INFO;

function write(level, text) {
  if (LEVELS[level] >= least) process.stderr.write(`${new Date().toISOString()} ${level} ${text}\n`);
}

export const log = {
  debug: (text) => write('DEBUG', text),
  info: (text) => write('INFO', text),
  warning: (text) => write('WARNING', text),
  error: (text) => write('ERROR', text),

  /** Log from a level on, in any letter case; what is no level is INFO (I2M-ENV-12). */
  setLevel(name) {
    const known = LEVELS[name.toUpperCase()];
    least = known ?? LEVELS.INFO;
    if (known === undefined) {
      write('WARNING', `LOG_LEVEL is none of ${Object.keys(LEVELS).join(', ')}: INFO is used`);
    }
  },
};
