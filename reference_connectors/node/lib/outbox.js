// What is to be published, and what is not acknowledged yet. It outlives the connection (I2M-PUB-06).
import { log } from './log.js';

const MOST = 1_000;

/** Messages in the order in which they were made. */
export class Outbox {
  #messages = new Set();
  #latest = new Map();

  /**
   * Take a message. One that is the latest of its topic takes the place of one that was not sent in time, and of what
   * belongs `with` that: both are sent, or neither is.
   */
  add(message) {
    if (message.latest) {
      const older = this.#latest.get(message.topic);
      if (older && !older.sent) for (const each of this) if (each === older || each.with === older) this.remove(each);
      this.#latest.set(message.topic, message);
    }
    this.#messages.add(message);
    if (this.#messages.size > MOST) {
      const [oldest] = this.#messages;
      this.remove(oldest);
      log.warning(`too much is waiting for the broker: nothing is published on ${oldest.topic}`);
    }
  }

  remove(message) {
    this.#messages.delete(message);
    if (this.#latest.get(message.topic) === message) this.#latest.delete(message.topic);
  }

  /** The connection has ended: what was not acknowledged is sent again, if it is worth keeping. */
  end() {
    for (const message of this) {
      if (message.keep) message.sent = false;
      else this.remove(message);
    }
  }

  *unsent() {
    for (const message of this.#messages) if (!message.sent) yield message;
  }

  [Symbol.iterator]() {
    return [...this.#messages].values();
  }
}
