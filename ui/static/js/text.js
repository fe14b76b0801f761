// The browser's half of the catalogue (ui/catalogue.go): the same texts, filled, and times
// and sizes written in the same way.

const beijingOffset = 8 * 60 * 60 * 1000; // no summer time since 1991

export class Texts {
  #of;
  #json;

  constructor(all) { this.all = all; }

  // load fetches the catalogue that belongs to the page.
  static async load(url) {
    const answer = await fetch(url);
    if (!answer.ok) throw new Error(`texts: ${answer.status}`);
    return new Texts(await answer.json());
  }

  has(key) { return Object.hasOwn(this.all, key); }

  // first is the first of the keys that has a text, or the last one.
  first(...keys) { return keys.find((k) => this.has(k)) ?? keys.at(-1); }

  // text fills the {places} of a text.
  text(key, places = {}) {
    if (!this.has(key)) return `[${key}]`;
    return this.all[key].replace(/\{(\w+)\}/g, (whole, name) => places[name] ?? whole);
  }

  // known is the text of a key, or the word itself.
  known(key, word) { return this.has(key) ? this.text(key) : word; }

  // whole is all of it, for the verifier.
  get whole() {
    if (this.#of !== this.all) [this.#of, this.#json] = [this.all, JSON.stringify(this.all)];
    return this.#json;
  }

  // json are the texts whose keys begin with one of these, for the verifier.
  json(...beginnings) { return JSON.stringify(Object.fromEntries(Object.entries(this.all).filter(([key]) => beginnings.some((b) => key.startsWith(b))))); }

  time(rfc3339) {
    const ms = Date.parse(rfc3339);
    if (Number.isNaN(ms)) return rfc3339;
    const t = new Date(ms + beijingOffset);
    const hms = t.toISOString().slice(11, 19);
    return this.text('time.full', { y: t.getUTCFullYear(), month: this.text(`month.${t.getUTCMonth() + 1}`), d: t.getUTCDate(), hms });
  }

  size(n) {
    if (n < 1024) return this.text('size.bytes', { n });
    const units = ['KB', 'MB', 'GB', 'TB', 'PB', 'EB'];
    let unit = 1024;
    while (units.length > 1 && n / unit >= 1024) {
      unit *= 1024;
      units.shift();
    }
    const whole = Math.floor(n / unit);
    const tenth = Math.floor(((n % unit) * 10) / unit);
    return `${whole}${tenth > 0 && whole < 100 ? `.${tenth}` : ''} ${units[0]}`;
  }

  left(seconds) {
    return seconds < 90 ? this.text('left.seconds', { n: Math.ceil(seconds) }) : this.text('left.minutes', { n: Math.ceil(seconds / 60) });
  }
}
