// Environment variables, the .env file, and the files of secrets (I2M-ENV).
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { isName } from './names.js';

/** What a person has to set right; the message says what, where, and what to do. */
export class SettingsError extends Error {}

/** Read all settings; the process's own variables win over the file (I2M-ENV-08). */
export function readEnvironment(own) {
  const folder = own.IOT2MQTT_PATH || '/app';
  const variables = { ...readPairs(join(folder, '.env'), { quoted: true }), ...own };
  const name = variables.INSTANCE_NAME;
  if (!isName(name)) throw new SettingsError('INSTANCE_NAME is not set to a name: give it the instance to run');
  const base = variables.MQTT_BASE_TOPIC || 'IoT2mqtt';
  const settings = {
    instance: name,
    connectorType: variables.CONNECTOR_TYPE || 'node',
    instanceFile: join(folder, 'instances', `${name}.json`),
    secretsFolder: variables.IOT2MQTT_SECRETS_DIR || '/run/secrets',
    healthFile: variables.HEALTH_FILE || null,
    logLevel: variables.LOG_LEVEL || 'INFO',
    host: variables.MQTT_HOST || 'localhost',
    port: wholeNumber(variables, 'MQTT_PORT', 1883, 1, 65535),
    root: `${base}/v1/instances/${name}`,
    clientId: `${variables.MQTT_CLIENT_PREFIX || 'iot2mqtt'}_${name}`,
    keepalive: wholeNumber(variables, 'MQTT_KEEPALIVE', 60, 0, 65535),
    qos: wholeNumber(variables, 'MQTT_QOS', 1, 0, 2),
    retain: !/^(false|0|no|off)$/i.test(variables.MQTT_RETAIN || 'true'),
  };
  return Object.freeze({ ...settings, ...credentials(variables, settings), tls: tls(variables, settings.port) });
}

/** Return the KEY=VALUE lines of a file in the folder of secrets; none where there is no file (I2M-ENV-14). */
export function readSecrets({ secretsFolder, instance }, ending) {
  return readPairs(join(secretsFolder, instance + ending), { quoted: false });
}

/** What the file of secrets says wins; what is empty is not presented (I2M-ENV-03, I2M-ENV-14). */
function credentials(variables, settings) {
  const secret = readSecrets(settings, '_mqtt');
  const username = (secret.username ?? variables.MQTT_USERNAME) || undefined;
  const password = (secret.password ?? variables.MQTT_PASSWORD) || undefined;
  if (password !== undefined && username === undefined) {
    throw new SettingsError('MQTT_PASSWORD is set without MQTT_USERNAME: set both, or neither');
  }
  return { username, password };
}

/** Read what TLS needs, or return null where it is not wanted (I2M-ENV-16). */
function tls(variables, port) {
  if (!/^(true|1|yes|on)$/i.test(variables.MQTT_TLS || '') && port !== 8883) return null;
  const read = (name) => {
    const file = variables[name];
    if (!file) return undefined;
    try {
      return readFileSync(file);
    } catch (error) {
      throw new SettingsError(`${name}: ${file} cannot be read (${error.code}): correct the path`);
    }
  };
  return { ca: read('MQTT_CA_CERTS'), cert: read('MQTT_CERTFILE'), key: read('MQTT_KEYFILE') };
}

function wholeNumber(variables, name, usual, least, most) {
  const text = variables[name] || String(usual);
  if (!/^\d{1,6}$/.test(text) || Number(text) < least || Number(text) > most) {
    throw new SettingsError(`${name} is "${text}": set it to a whole number from ${least} to ${most}`);
  }
  return Number(text);
}

function readPairs(file, { quoted }) {
  let text;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (error.code === 'ENOENT') return {};
    throw new SettingsError(`${file} cannot be read (${error.code}): let the connector's user read it`);
  }
  const pairs = {};
  for (const line of text.split(/\r?\n/)) {
    const found = /^\s*(?:export\s+)?(\w+)\s*=(.*)$/.exec(line);
    if (found) pairs[found[1]] = quoted ? found[2].trim().replace(/^(["'])(.*)\1$/, '$2') : found[2];
  }
  return pairs;
}
