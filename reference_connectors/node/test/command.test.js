import assert from 'node:assert/strict';
import { test } from 'node:test';

import { checkCommand, moment, parseCommand, SeenIds } from '../lib/command.js';

const NOW = Date.parse('2026-03-01T12:00:00Z');

test('times are read with their offset, and as UTC without one', () => {
  for (const text of [
    '2026-03-01T12:00:00Z',
    '2026-03-01t12:00:00z',
    '2026-03-01 12:00',
    '2026-03-01T12:00:00.000000',
    '2026-03-01T17:30:00+05:30',
    '2026-03-01T08:30:00-0330',
    '2026-03-01T13:00+01',
  ]) {
    assert.equal(moment(text), NOW, text);
  }
});

test('what is no time is none', () => {
  for (const text of ['yesterday', '2026', '2026-02-31T12:00:00Z', '2026-03-01T25:00:00Z', '', 5, null, {}]) {
    assert.ok(Number.isNaN(moment(text)), String(text));
  }
});

test('a command of 31 s is stale, and one of 29 s is not', () => {
  const at = (seconds) => ({ values: { on: true }, timestamp: new Date(NOW - seconds * 1000).toISOString() });
  assert.equal(checkCommand(at(29), NOW).limit, 10_000);
  assert.throws(() => checkCommand(at(31), NOW), { code: 'stale_command', retriable: true });
});

test('bytes that are no command are refused', () => {
  for (const text of ['', '{', '[]', 'null', '5', '{"id": 5}', Buffer.from([0x22, 0xff, 0x22])]) {
    assert.throws(() => parseCommand(Buffer.from(text)), { code: 'invalid_command' });
  }
});

test('an id is remembered for five minutes', () => {
  const seen = new SeenIds();
  assert.equal(seen.repeats('a', 0), false);
  assert.equal(seen.repeats('a', 299_000), true);
  assert.equal(seen.repeats('a', 301_000), false);
});
