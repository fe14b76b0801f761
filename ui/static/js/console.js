// The console works without this; it adds copy buttons and keeps a form from being sent twice.

for (const button of document.querySelectorAll('[data-copy]')) {
  if (!navigator.clipboard) break;
  button.hidden = false;
  button.addEventListener('click', async () => {
    const lines = [...document.getElementById(button.dataset.copy).querySelectorAll('li')].map((l) => l.textContent);
    const text = lines.length > 0 ? lines.join('\n') : document.getElementById(button.dataset.copy).textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.dataset.copied = 'yes';
      document.querySelector('.said').textContent = button.dataset.done;
    } catch {
      getSelection().selectAllChildren(document.getElementById(button.dataset.copy)); // to be copied by hand
    }
  });
}

// The page that answers has other forms; coming back to this one, it can be sent again, and the
// server takes it once.
const sent = new Set();
addEventListener('submit', (event) => {
  const form = event.target;
  if (form.method !== 'post' || event.submitter?.formTarget === '_blank') return;
  if (sent.has(form)) event.preventDefault();
  sent.add(form);
});
addEventListener('pageshow', () => sent.clear());
