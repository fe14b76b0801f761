// Keeps the page of a record that is not anchored yet up to date: when the service says that
// the record has come further, its part of the page is fetched again.

const place = () => document.getElementById('record');
const parts = ['record', 'record-proof']; // ids of what says how things stand
const pause = 5000; // ms before a page is fetched again that had nothing new

export class RecordPage {
  #service;
  #announce;
  #stop = () => {};

  constructor(service, announce) {
    this.#service = service;
    this.#announce = announce;
  }

  // follow begins, where the page is that of a record and something is still to come.
  follow() {
    this.stop();
    const { number, state } = place()?.dataset ?? {};
    if (!this.#service || !number || !state) return;
    this.#stop = this.#service.events(number, (now) => {
      if (now.state === state && now.standing === 'valid') return;
      this.stop();
      this.#refresh();
    });
  }

  stop() {
    this.#stop();
    this.#stop = () => {};
  }

  async #refresh() {
    let stopped = false;
    this.#stop = () => { stopped = true; };
    const before = place().dataset.state;
    try {
      const answer = await fetch(location.href, { headers: { Accept: 'text/html' } });
      if (!answer.ok || stopped) return;
      const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
      for (const id of parts) document.getElementById(id).replaceWith(document.adoptNode(page.getElementById(id)));
    } catch {
      return; // the page says what it said, and has a link to look again
    }
    if (place().offsetParent !== null) this.#announce(place().querySelector('h1').textContent);
    if (place().dataset.state === before) setTimeout(() => !stopped && this.follow(), pause);
    else this.follow();
  }
}
