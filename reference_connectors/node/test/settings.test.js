import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

import { readEnvironment, readSecrets } from '../lib/environment.js';
import { readInstance } from '../lib/instance.js';

function folder(t, files) {
  const path = mkdtempSync(join(tmpdir(), 'node-connector-'));
  t.after(() => rmSync(path, { recursive: true }));
  mkdirSync(join(path, 'instances'));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(path, name), text);
  return path;
}

function read(t, document, secrets = {}) {
  const path = folder(t, { 'one.json': typeof document === 'string' ? document : JSON.stringify(document) });
  return readInstance(join(path, 'one.json'), secrets);
}

const GOOD = { connection: { host: 'strip', port: 80, token: 'secret' }, devices: [{ device_id: 'desk' }] };

test('the environment wins over the file, and the file over what is usual', (t) => {
  const path = folder(t, { '.env': '# broker\nMQTT_HOST="one"\nexport MQTT_PORT=1884\nMQTT_QOS=2\n' });
  const found = readEnvironment({ IOT2MQTT_PATH: path, INSTANCE_NAME: 'a', MQTT_QOS: '0' });
  assert.deepEqual([found.host, found.port, found.qos, found.keepalive], ['one', 1884, 0, 60]);
});

test('a number that is none is refused with its name', (t) => {
  const path = folder(t, {});
  for (const [name, text] of [['MQTT_QOS', '3'], ['MQTT_PORT', '0'], ['MQTT_KEEPALIVE', '1e3']]) {
    const variables = { IOT2MQTT_PATH: path, INSTANCE_NAME: 'a', [name]: text };
    assert.throws(() => readEnvironment(variables), { message: new RegExp(name) });
  }
});

test('secrets take the place of what refers to them, and the others go into connection', (t) => {
  const document = { ...GOOD, connection: { host: '${secret:where}', port: 80 } };
  assert.deepEqual(read(t, document, { where: 'strip', token: 'x=y' }).connection, { host: 'strip', port: 80, token: 'x=y' });
});

test('a secret that is missing is named', (t) => {
  assert.throws(() => read(t, { ...GOOD, connection: { ...GOOD.connection, token: '${secret:nope}' } }), /secret nope/);
});

test('a file of secrets keeps what stands behind the first equals sign', (t) => {
  const path = folder(t, { a_creds: 'token= a=b \r\nno pair\n' });
  assert.deepEqual(readSecrets({ secretsFolder: path, instance: 'a' }, '_creds'), { token: ' a=b ' });
});

test('what is wrong with an instance file is said with the file', (t) => {
  for (const [document, fault] of [
    ['{', /is not JSON/],
    [[], /must be a JSON object/],
    [{ ...GOOD, devices: 'desk' }, /devices must be a list/],
    [{ ...GOOD, devices: [{ device_id: 'a/b' }] }, /device_id/],
    [{ ...GOOD, devices: [{ device_id: 'a' }, { device_id: 'a' }] }, /two of the devices/],
    [{ ...GOOD, devices: [{ device_id: 'a', enabled: 'no' }] }, /enabled/],
    [{ ...GOOD, update_interval: 0 }, /update_interval/],
    [{ ...GOOD, groups: [{ group_id: 'g' }] }, /devices/],
    [{ ...GOOD, connection: undefined }, /connection/],
    [{ ...GOOD, connection: { ...GOOD.connection, port: '80x' } }, /port/],
  ]) {
    assert.throws(() => read(t, document), (error) => fault.test(error.message) && error.message.includes('one.json'));
  }
});
