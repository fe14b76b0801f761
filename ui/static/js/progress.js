// Tells how far a check is: which file, how much of it, and how much of all.

const byId = (id) => document.getElementById(id);
const announceEvery = 25; // percent
const numbersFrom = 10 * 1024 * 1024; // bytes from which progress is told in numbers

export class Progress {
  #t;
  #size; // of the verifier, in words; none where it need not be fetched
  #announce;
  #files = [];
  #before = []; // bytes of the files before each
  #total = 0;
  #since = 0;
  #announced = 0;

  // asked tells whether anything may have been sent in this check.
  asked = false;

  constructor(texts, size, announce) {
    this.#t = texts;
    this.#size = size;
    this.#announce = announce;
  }

  start() {
    this.asked = false;
    this.expect([]);
    byId('progress').hidden = false;
    byId('cancel').focus();
  }

  stop() { byId('progress').hidden = true; }

  // expect says which files will be hashed.
  expect(files) {
    this.#files = files;
    this.#before = files.map((_, i) => files.slice(0, i).reduce((sum, f) => sum + f.size, 0));
    this.#total = files.reduce((sum, f) => sum + f.size, 0);
    this.#since = performance.now();
    this.#announced = 0;
    byId('progress-all').hidden = files.length < 2;
    byId('progress-of').textContent = '';
  }

  preparing() { this.#wait(this.#size ? 'progress.preparing' : 'progress.starting', { size: this.#size }); }

  // hashing tells that so many bytes of a file are done.
  hashing(i, done) {
    const t = this.#t;
    const file = this.#files[i];
    const all = this.#before[i] + done;
    if (done === 0) {
      this.#wait('progress.hashing', { name: file.name }, this.#files.length === 1);
      this.#of(i, this.#files.length);
      if (this.#files.length > 1 && i === 0) this.#announce(t.text('progress.several', { total: this.#files.length }));
    } else {
      fill('progress-bar', done, file.size);
    }
    fill('progress-all', all, this.#total);
    if (this.#total < numbersFrom || all === 0) return;
    const seconds = ((performance.now() - this.#since) / 1000) * ((this.#total - all) / all);
    byId('progress-numbers').textContent = t.text('progress.numbers', { done: t.size(all), total: t.size(this.#total), left: t.left(seconds) });
    const percent = Math.floor((all * 100) / this.#total / announceEvery) * announceEvery;
    if (percent <= this.#announced || percent === 100) return;
    this.#announced = percent;
    this.#announce(t.text('progress.percent', { n: percent }));
  }

  // checking tells which of so many results is being found, and whether the service is asked.
  checking(i, of, asked) {
    this.asked ||= asked;
    byId('progress-all').hidden = of < 2;
    if (i === 0) this.#wait(asked ? 'progress.asking' : 'progress.checking');
    this.#of(i, of);
    if (of > 1) fill('progress-all', i, of);
  }

  #of(i, total) { byId('progress-of').textContent = total > 1 ? this.#t.text('progress.of', { i: i + 1, total }) : ''; }

  // wait says what is waited for, without a measure of it.
  #wait(key, places, aloud = true) {
    const text = this.#t.text(key, places);
    byId('progress-bar').removeAttribute('value');
    byId('progress-numbers').textContent = '';
    byId('progress-what').textContent = text;
    if (aloud) this.#announce(text);
  }
}

function fill(id, value, max) {
  const bar = byId(id);
  bar.max = max;
  bar.value = value;
}
