// Waits for what becomes of records that are not anchored yet.

const most = 4; // streams at a time; browsers open six connections to a server over HTTP/1.1

const stateOf = (f) => {
  if (f.cause === 'not_ready') return { number: f.number, state: 'received' };
  if (f.report.verdict === 'pending') return { number: f.report.number, state: 'logged' };
  return null;
};

export class Watch {
  #service;
  #stops = new Map(); // outcome's subject -> function that ends the stream

  constructor(service) { this.#service = service; }

  // waits tells whether something is still to be expected of an outcome.
  static waits(outcome) { return stateOf(outcome.found[0]) !== null; }

  // follow calls changed(outcome) when the service says that a record has come further than
  // in its outcome. It is called once; who wants more follows the new outcome.
  follow(outcome, changed) {
    const known = stateOf(outcome.found[0]);
    if (known === null || this.#stops.has(outcome.subject) || this.#stops.size >= most) return;
    this.#stops.set(outcome.subject, this.#service.events(known.number, ({ state, standing }) => {
      if (state === known.state && standing === 'valid') return;
      this.leave(outcome.subject);
      changed(outcome);
    }));
  }

  leave(subject) {
    this.#stops.get(subject)?.();
    this.#stops.delete(subject);
  }

  stop() { for (const subject of this.#stops.keys()) this.leave(subject); }
}
