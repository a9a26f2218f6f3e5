// Clears the states that the broker keeps of devices which have left the configuration (I2M-LIFE-11).
import { log } from './log.js';

const SUFFIXES = ['devices/+/state', 'devices/+/state/+'];
const LOOK_FOR = 2_000;

export class Leftovers {
  #broker;
  #isKnown;
  #looked = false;

  constructor(broker, isKnown) {
    this.#broker = broker;
    this.#isKnown = isKnown;
  }

  /** Listen, once, for what is retained: the broker sends it at once. */
  look() {
    if (this.#looked) return;
    this.#looked = true;
    this.#broker.listen(SUFFIXES);
    setTimeout(() => this.#broker.unlisten(SUFFIXES), LOOK_FOR).unref();
  }

  take(levels, payload, retained) {
    if (!retained || payload.length === 0 || this.#isKnown(levels[1])) return;
    log.info(`${levels[1]} is not configured any more: what is kept of it is cleared`);
    this.#broker.clear(levels.join('/'));
  }
}
