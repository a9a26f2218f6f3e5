import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Outbox } from '../lib/outbox.js';

const message = (topic, more = {}) => ({ topic, sent: false, keep: false, latest: false, ...more });

function send(outbox) {
  const found = [...outbox.unsent()];
  for (const each of found) each.sent = true;
  return found.map(({ topic, text = '' }) => topic + text);
}

test('what is worth keeping is sent again after a reconnection, in its order', () => {
  const outbox = new Outbox();
  const answer = message('answer', { keep: true });
  for (const each of [answer, message('state'), message('event', { keep: true })]) outbox.add(each);
  assert.deepEqual(send(outbox), ['answer', 'state', 'event']);
  outbox.remove(answer);
  outbox.end();
  assert.deepEqual(send(outbox), ['event']);
});

test('a later state takes the place of one that was not sent in time', () => {
  const outbox = new Outbox();
  outbox.add(message('a', { text: 1, latest: true }));
  assert.deepEqual(send(outbox), ['a1']);
  for (const text of [2, 3]) {
    outbox.add(message('a', { text, latest: true }));
    outbox.add(message('a', { text: 'part' }));
  }
  assert.deepEqual(send(outbox), ['apart', 'a3', 'apart']);
});

test('what belongs to a state is sent where that is, and nowhere else', () => {
  const outbox = new Outbox();
  const add = (text) => {
    const state = message('state', { text, latest: true });
    outbox.add(state);
    outbox.add(message('power', { text, with: state }));
    return state;
  };
  add(1).sent = true;
  add(2);
  add(3);
  assert.deepEqual(send(outbox), ['power1', 'state3', 'power3']);
});

test('where too much is kept the oldest is dropped', () => {
  const outbox = new Outbox();
  for (let number = 0; number <= 1_000; number += 1) outbox.add(message(`${number}`, { keep: true }));
  const topics = send(outbox);
  assert.equal(topics.length, 1_000);
  assert.equal(topics[0], '1');
});
