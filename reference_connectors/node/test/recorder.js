// Stands where the broker stands, and lets a test wait for what is published.
export class Recorder {
  online = true;
  messages = [];
  #waiting = new Set();

  publish(suffix, value, how) {
    this.messages.push({ suffix, value, how });
    for (const look of this.#waiting) look();
  }

  listen() {}

  unlisten() {}

  clear(suffix) {
    this.publish(suffix, null, {});
  }

  /** Wait for a message on a topic, from a place in the record on; the runner's time limit ends it. */
  until(suffix, fits = () => true, since = 0) {
    return new Promise((resolve) => {
      const look = () => {
        const found = this.messages.slice(since).find((message) => message.suffix === suffix && fits(message.value));
        if (found === undefined) return;
        this.#waiting.delete(look);
        resolve(found.value);
      };
      this.#waiting.add(look);
      look();
    });
  }
}
