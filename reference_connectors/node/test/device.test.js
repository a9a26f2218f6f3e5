import assert from 'node:assert/strict';
import { test } from 'node:test';

import { FAULTS } from '../simulator/faults.js';
import { bench } from './bench.js';

const limit = { timeout: 20_000 };

for (const fault of FAULTS) {
  test(`an answer that goes wrong by ${fault} is reported, and the outlet comes back`, limit, async (t) => {
    const { broker, control } = await bench(t);
    await broker.until('devices/desk/state', ({ state }) => state.online);
    await control('fault', 'desk', fault);
    const error = await broker.until('devices/desk/error');
    assert.equal(error.severity, 'error');
    assert.ok(error.message.length > 10, error.message);
    assert.ok(error.retry_info.attempt >= 1);
    const offline = await broker.until('devices/desk/state', ({ state }) => !state.online);
    assert.deepEqual(offline.state, { online: false });
    const since = broker.messages.length;
    await control('recover', 'desk');
    await broker.until('devices/desk/state', ({ state }) => state.online, since);
  });
}

test('an outlet that fails holds up no other one', limit, async (t) => {
  const { broker, control } = await bench(t);
  await control('fault', 'desk', 'slow');
  await broker.until('devices/desk/error');
  const since = broker.messages.length;
  await broker.until('devices/heater/state', ({ state }) => state.online, since);
});

test('a command whose time is up is answered, and not carried out when its turn comes', limit, async (t) => {
  const { broker, control, send } = await bench(t, { interval: 60_000, patience: 5_000 });
  await broker.until('devices/desk/state');
  await control('slow', 'desk', '0.4');
  send('devices/desk/cmd', { id: 'first', values: { limit: 1500 } });
  send('devices/desk/cmd', { id: 'late', values: { limit: 1000 }, timeout: 100 });
  const late = await broker.until('devices/desk/cmd/response', ({ cmd_id }) => cmd_id === 'late');
  assert.equal(late.error.code, 'timeout');
  await broker.until('devices/desk/cmd/response', ({ cmd_id }) => cmd_id === 'first');
  const since = broker.messages.length;
  send('devices/desk/get', {});
  const { state } = await broker.until('devices/desk/state', () => true, since);
  assert.equal(state.limit, 1500);
});

test('a group of which one member fails has succeeded in part', limit, async (t) => {
  const { broker, control, send } = await bench(t, { interval: 60_000 });
  await broker.until('devices/desk/state');
  await control('fail', 'desk');
  send('groups/work/cmd', { id: 'both', values: { on: false } });
  const answer = await broker.until('groups/work/cmd/response');
  assert.equal(answer.status, 'partial');
  assert.equal(answer.results.desk.error.code, 'device_error');
  assert.equal(answer.results.heater.status, 'success');
});

test('a strip that switches off because of its limit tells it without being asked', limit, async (t) => {
  const { broker, send } = await bench(t, { interval: 60_000 });
  await broker.until('devices/heater/state');
  send('devices/heater/cmd', { values: { limit: 100 } });
  const event = await broker.until('devices/heater/events');
  assert.equal(event.event, 'overload');
  await broker.until('devices/heater/state', ({ state }) => state.on === false);
});
