/** What a decoder refuses (specification, chapter 11). */
import { ERRORS, REQUIREMENTS } from './register.js';

/** A requirement is broken: decoding stops. */
export class Refused extends Error {
  /**
   * @param {string} requirement  as `R-UNIT-03`
   * @param {string} [detail]  what was found, for people
   */
  constructor(requirement, detail = '') {
    const [code, section] = REQUIREMENTS[requirement];
    const [name, meaning] = ERRORS[code];
    super(`${code} ${name}: ${detail || meaning} (${requirement}, section ${section})`);
    this.name = 'Refused';
    Object.assign(this, { requirement, code, section, errorName: name, meaning, detail, offset: null });
  }

  /** What survives being posted from a worker. */
  toObject() {
    const { requirement, code, section, errorName, meaning, detail, offset, message } = this;
    return { requirement, code, section, errorName, meaning, detail, offset, message };
  }
}

/** Refuses with a requirement unless the condition holds. */
export function require(condition, requirement) {
  if (!condition) throw new Refused(requirement);
}
