import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

import { bench } from './bench.js';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc');

const KEPT_OF_EACH = 1000; // bytes: an id is remembered for five minutes

test('hardly anything is kept of a command once it is answered', { timeout: 60_000 }, async (t) => {
  const { broker, send } = await bench(t, { interval: 60_000 });
  let number = 0;
  const commands = async (count) => {
    for (const last = number + count; number < last; ) {
      number += 1;
      send('devices/desk/cmd', { id: `memory-${number}`, values: { on: number % 2 === 0 } });
      await broker.until('devices/desk/cmd/response');
      broker.messages.length = 0;
    }
    collect();
    return process.memoryUsage().heapUsed;
  };
  // Until then Node keeps ever more of itself.
  const before = await commands(1000);
  const after = await commands(1000);
  assert.ok(after - before < 1000 * KEPT_OF_EACH, `${after - before} bytes more after 1000 commands`);
});
