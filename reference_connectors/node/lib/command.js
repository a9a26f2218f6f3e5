// A command as it arrives: its form, its age, and whether it was seen before.

const STALE_AFTER = 30_000;
const REMEMBERED = 300_000;
const MOST_REMEMBERED = 50_000;
const LONGEST_TIMEOUT = 2 ** 31 - 1;
const USUAL_TIMEOUT = 10_000;
const LONGEST_ID = 1_000;

/** Why a command is not carried out: a code of I2M-CMD-05, and a sentence. */
export class Refusal extends Error {
  constructor(code, message, { retriable = false } = {}) {
    super(message);
    this.code = code;
    this.retriable = retriable;
  }

  toJSON() {
    return { code: this.code, message: this.message, retriable: this.retriable };
  }
}

/** Parse bytes that may be anything; refuses what is no JSON text in UTF-8. */
export function parse(payload) {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload));
  } catch {
    throw new Refusal('invalid_command', 'the payload is no JSON text');
  }
}

/** Return a command of which at least the id is known; without that nobody could be answered. */
export function parseCommand(payload) {
  const command = parse(payload);
  const id = command?.id ?? null;
  const answerable = id === null || (typeof id === 'string' && id.length <= LONGEST_ID);
  if (!isObject(command) || !answerable) {
    throw new Refusal('invalid_command', 'a command is an object whose id, if any, is a text');
  }
  return { ...command, id };
}

/** Return the values and the milliseconds that a command may take; refuses what is stale or has the wrong form. */
export function checkCommand({ timestamp, timeout, values }, now = Date.now()) {
  checkAge(timestamp ?? null, now);
  if (!isObject(values) || Object.keys(values).length === 0) {
    throw new Refusal('invalid_command', 'values must be an object that names at least one property');
  }
  const limit = timeout ?? USUAL_TIMEOUT;
  if (!Number.isInteger(limit) || limit < 1 || limit > LONGEST_TIMEOUT) {
    throw new Refusal('invalid_command', 'timeout must be a whole number of milliseconds above 0');
  }
  return { values, limit };
}

/** No timestamp is no fault; an old or unreadable one is (I2M-CMD-04, I2M-CMD-06). */
function checkAge(timestamp, now) {
  if (timestamp === null) return;
  const age = now - moment(timestamp);
  if (Number.isNaN(age)) throw new Refusal('invalid_command', 'timestamp must be an ISO 8601 date and time');
  if (age > STALE_AFTER) {
    const sentence = `the command is ${Math.round(age / 1000)} s old, and 30 s are allowed`;
    throw new Refusal('stale_command', sentence, { retriable: true });
  }
}

const ISO = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d)?)([.,]\d+)?(Z|[+-]\d\d(?::?\d\d)?)?$/i;

/** Milliseconds since 1970 of an ISO 8601 time, UTC where it has no offset; NaN where it is none. */
export function moment(text) {
  const found = typeof text === 'string' ? ISO.exec(text) : null;
  if (!found) return NaN;
  const [, day, time, fraction = '', zone = 'Z'] = found;
  // Date.parse takes the 31st of February for the 3rd of March.
  const midnight = new Date(`${day}T00:00:00Z`);
  if (Number.isNaN(midnight.getTime()) || !midnight.toISOString().startsWith(day)) return NaN;
  const seconds = time.length === 5 ? ':00' : '';
  return Date.parse(`${day}T${time}${seconds}${fraction.replace(',', '.')}${offset(zone)}`);
}

function offset(zone) {
  if (zone.length === 1) return 'Z';
  return `${zone.slice(0, 3)}:${zone.slice(3).replace(':', '') || '00'}`;
}

const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);

/** Remembers ids for five minutes: QoS 1 may deliver a command twice (I2M-CMD-12). */
export class SeenIds {
  #seen = new Map();

  /** Whether this id was seen before; from now on it was. */
  repeats(key, now = performance.now()) {
    for (const [old, when] of this.#seen) {
      if (now - when < REMEMBERED && this.#seen.size < MOST_REMEMBERED) break;
      this.#seen.delete(old);
    }
    if (this.#seen.has(key)) return true;
    this.#seen.set(key, now);
    return false;
  }
}
