// One device: everything that is done with it happens one after another, and delays no other device.
import { Refusal } from './command.js';
import { log } from './log.js';

const LONGEST_BACKOFF = 8;

export class Device {
  #strip;
  #broker;
  #state;
  #interval;
  #tail = Promise.resolve();
  #waiting = false;
  #timer = null;
  #due = 0;
  #failures = 0;
  #retained;

  constructor({ id, outlet, model, enabled }, { strip, broker, interval, retained }) {
    Object.assign(this, { id, outlet, model, enabled });
    this.#strip = strip;
    this.#broker = broker;
    this.#interval = interval;
    this.#retained = retained;
    this.#state = null;
  }

  /** Whether it answered when it was last asked (I2M-META-04). */
  get online() {
    return this.#state !== null && this.#failures === 0;
  }

  /** Poll every interval, in step with the clock, and less often while the device does not answer (I2M-ERR-05). */
  start(stopping) {
    this.stopping = stopping;
    stopping.addEventListener('abort', () => clearTimeout(this.#timer));
    this.#due = performance.now();
    this.#poll();
  }

  #poll() {
    this.#schedule(this.#interval);
    this.refresh();
  }

  #schedule(pause) {
    if (this.stopping.aborted) return;
    clearTimeout(this.#timer);
    const now = performance.now();
    // A poll that comes late must not make all later ones late; those that were missed are not made up for.
    this.#due = Math.max(this.#due + pause, now);
    this.#timer = setTimeout(() => this.#poll(), this.#due - now);
  }

  /** Read the device and publish what it shows; what is asked while that is still to be done is answered by it. */
  refresh() {
    if (this.#waiting) return;
    this.#waiting = true;
    this.#turn(async () => {
      this.#waiting = false;
      await this.#read();
      this.#publish(this.#state, this.#retained);
    });
  }

  /** After a reconnection: say what is known at once, where asking would come too early. */
  announce() {
    if (this.#failures === 0) this.refresh();
    else this.#turn(async () => this.#publish(this.#state, this.#retained));
  }

  /** Read the device and publish some of its properties; what the broker keeps stays whole (I2M-GET-02, -03). */
  refreshPart(names) {
    this.#turn(async () => {
      await this.#read();
      const known = Object.entries(this.#state).filter(([name]) => names.has(name));
      this.#broker.publish(`devices/${this.id}/state`, this.#message(Object.fromEntries(known)), {
        ...this.#retained,
        retain: false,
        keep: false,
      });
    });
  }

  /**
   * Carry out a command within some milliseconds, and return the values that took effect (I2M-CMD-14, I2M-CMD-17).
   * Throws a Refusal.
   */
  async command(values, limit) {
    const over = new AbortController();
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => {
        over.abort();
        reject(tooLate());
      }, limit);
    });
    const done = this.#turn(() => (over.signal.aborted ? undefined : this.#write(values, over.signal)));
    return Promise.race([done, late]).finally(() => clearTimeout(timer));
  }

  async #write(values, over) {
    try {
      this.#succeed(await this.#strip.write(this.outlet, values, over));
    } catch (error) {
      // What came of it nobody can say who is about to leave.
      if (this.stopping.aborted) return undefined;
      if (over.aborted) {
        // It may have been carried out or not: what the device shows now is the truth.
        this.refresh();
        throw tooLate();
      }
      this.#fail(error);
      this.#publish(this.#state, this.#retained);
      throw new Refusal('device_error', error.message, { retriable: true });
    }
    this.#publish(this.#state, this.#retained);
    return Object.fromEntries(Object.keys(values).map((name) => [name, this.#state[name]]));
  }

  /** Do something once all that was asked before is done. */
  #turn(task) {
    const done = this.#tail.then(() => (this.stopping.aborted ? undefined : task()));
    this.#tail = done.catch(() => {});
    return done;
  }

  async #read() {
    try {
      this.#succeed(await this.#strip.read(this.outlet));
    } catch (error) {
      if (!this.stopping.aborted) this.#fail(error);
    }
  }

  #succeed(state) {
    if (this.#failures > 0) {
      log.info(`${this.id} answers again`);
      this.#failures = 0;
      this.#due = performance.now();
      this.#schedule(this.#interval);
    }
    this.#state = { ...state, online: true };
  }

  /** Nothing is known of it any more but that it does not answer (I2M-STATE-07); say so, and when it is tried again. */
  #fail(error) {
    this.#failures += 1;
    this.#state = { online: false };
    const pause = this.#interval * Math.min(2 ** (this.#failures - 1), LONGEST_BACKOFF);
    this.#due = performance.now();
    this.#schedule(pause);
    log.warning(`${this.id}: ${error.message} (attempt ${this.#failures})`);
    this.#broker.publish(`devices/${this.id}/error`, {
      error_code: error.code ?? 'device_error',
      message: error.message,
      severity: 'error',
      retry_info: { attempt: this.#failures, next_retry: new Date(Date.now() + pause).toISOString() },
    });
  }

  #message(state) {
    return { device_id: this.id, state };
  }

  /** Publish a whole state, and each property on a topic of its own (I2M-STATE-01, I2M-STATE-04). */
  #publish(state, how) {
    if (this.stopping.aborted || !this.#broker.online) return;
    const topic = `devices/${this.id}/state`;
    const whole = this.#broker.publish(topic, this.#message(state), { ...how, keep: false, latest: true });
    for (const [name, value] of Object.entries(state)) {
      this.#broker.publish(`${topic}/${name}`, value, { ...how, keep: false, stamped: false, with: whole });
    }
  }
}

function tooLate() {
  return new Refusal('timeout', 'the device did not answer in time', { retriable: true });
}
