import assert from 'node:assert/strict';
import { test } from 'node:test';

import { EventReader } from '../strip/events.js';

test('events are read whatever pieces they come in, and what is none is passed over', () => {
  const stream =
    ': hello\n\ndata: {"outlet":"a","event":"button","data":{"on":true}}\n\n' +
    'data: {"outlet":5}\n\ndata: {broken\n\nid: 7\ndata:{"outlet":"b","event":"overload"}\n\n';
  for (let size = 1; size <= stream.length; size += 7) {
    const events = [];
    const reader = new EventReader((event) => events.push(event));
    for (let at = 0; at < stream.length; at += size) reader.feed(stream.slice(at, at + size));
    assert.deepEqual(events, [
      { outlet: 'a', event: 'button', data: { on: true } },
      { outlet: 'b', event: 'overload', data: {} },
    ]);
  }
});
