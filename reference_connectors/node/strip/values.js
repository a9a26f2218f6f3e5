// What an outlet can be told.
import { Refusal } from '../lib/command.js';

const MOST_WATTS = 3680;

const CHECKS = {
  on: [(value) => typeof value === 'boolean', 'true or false'],
  limit: [
    (value) => Number.isInteger(value) && value >= 10 && value <= MOST_WATTS,
    `a whole number of watts from 10 to ${MOST_WATTS}`,
  ],
};

/** Refuse all values where an outlet cannot take one of them (I2M-CMD-09). */
export function checkValues(values) {
  for (const [name, value] of Object.entries(values)) {
    if (!Object.hasOwn(CHECKS, name)) {
      throw new Refusal('unsupported_property', `an outlet takes ${Object.keys(CHECKS).join(' and ')} only`);
    }
    const [fits, wanted] = CHECKS[name];
    if (!fits(value)) throw new Refusal('invalid_value', `${name} must be ${wanted}`);
  }
}
