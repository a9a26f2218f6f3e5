// The instance file: which outlets of which strip, and how often they are read.
import { readFileSync } from 'node:fs';

import { SettingsError } from './environment.js';
import { isName } from './names.js';

const REFERENCE = /^\$\{secret:(\w+)\}$/;
const LONGEST_INTERVAL = 86_400;

/** Read an instance file, with its secrets put in; whatever is wrong names file and fault (I2M-ENV-09, -10, -14). */
export function readInstance(file, secrets) {
  let document;
  try {
    document = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    const why = error instanceof SyntaxError ? 'is not JSON' : `cannot be read (${error.code})`;
    throw new SettingsError(`${file} ${why}: write the instance configuration there`);
  }
  try {
    return validated(withSecrets(document, secrets));
  } catch (error) {
    if (error instanceof Fault) throw new SettingsError(`${file}: ${error.message}`);
    throw error;
  }
}

class Fault extends Error {}

function check(condition, sentence) {
  if (!condition) throw new Fault(sentence);
}

const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);

/** Replace each text `${secret:KEY}`; what no text refers to goes into `connection`. */
function withSecrets(document, secrets) {
  const used = new Set();
  const filled = (value) => {
    if (Array.isArray(value)) return value.map(filled);
    if (isObject(value)) return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, filled(item)]));
    const key = typeof value === 'string' ? REFERENCE.exec(value)?.[1] : undefined;
    if (key === undefined) return value;
    check(Object.hasOwn(secrets, key), `it refers to the secret ${key}, and the file of secrets has none of that name`);
    used.add(key);
    return secrets[key];
  };
  const found = filled(document);
  const rest = Object.entries(secrets).filter(([key]) => !used.has(key));
  if (!rest.length || !isObject(found)) return found;
  return { ...found, connection: { ...found.connection, ...Object.fromEntries(rest) } };
}

function validated(document) {
  check(isObject(document), 'it must be a JSON object');
  const interval = document.update_interval ?? 10;
  check(
    typeof interval === 'number' && interval > 0 && interval <= LONGEST_INTERVAL,
    'update_interval must be a number of seconds above 0',
  );
  const devices = entries(document, 'devices', 'device_id').map(device);
  const groups = entries(document, 'groups', 'group_id').map(group);
  return { interval: interval * 1000, connection: connection(document.connection), devices, groups };
}

function entries(document, section, key) {
  const list = document[section] ?? [];
  check(Array.isArray(list) && list.every(isObject), `${section} must be a list of objects`);
  const seen = new Set();
  for (const { [key]: name } of list) {
    check(isName(name), `each of the ${section} needs a ${key}: a text without /, + and #`);
    check(!seen.has(name), `two of the ${section} have the ${key} ${name}`);
    seen.add(name);
  }
  return list;
}

function device({ device_id: id, outlet = id, model = 'Switchable outlet', enabled = true }) {
  check(isName(outlet), `${id}: outlet must be the name of an outlet of the strip`);
  check(typeof model === 'string', `${id}: model must be a text`);
  check(typeof enabled === 'boolean', `${id}: enabled must be true or false`);
  return { id, outlet, model, enabled };
}

function group({ group_id: id, devices }) {
  check(Array.isArray(devices) && devices.every(isName), `${id}: devices must be a list of device ids`);
  return { id, devices };
}

function connection(given) {
  check(isObject(given), 'connection must be an object with host, port and token');
  const port = typeof given.port === 'string' ? Number(given.port) : given.port;
  check(typeof given.host === 'string' && given.host !== '', 'connection.host must be the address of the strip');
  check(Number.isInteger(port) && port > 0 && port < 65_536, 'connection.port must be a number from 1 to 65535');
  check(typeof given.token === 'string' && /^[\x21-\x7e]+$/.test(given.token), 'connection.token must be a text');
  return { host: given.host, port, token: given.token };
}
