// Marks are dragged over the outline of a page, or moved with the arrow keys; the numbers of the
// form follow. Without this the numbers are typed.

const form = document.querySelector('[data-marks]');
const sheet = form?.querySelector('svg');

const field = (row, name) => form.elements[`m${row}.${name}`];

// place reads where a mark stands, as its upper left corner in millimetres.
function place(mark) {
  if (mark.tagName === 'circle') return { x: mark.cx.baseVal.value - mark.r.baseVal.value, y: mark.cy.baseVal.value - mark.r.baseVal.value };
  return { x: mark.x.baseVal.value, y: mark.y.baseVal.value };
}

function move(mark, x, y) {
  const box = sheet.viewBox.baseVal;
  const { width, height } = mark.getBBox();
  x = Math.round(Math.min(Math.max(x, 0), box.width - width) * 10) / 10;
  y = Math.round(Math.min(Math.max(y, 0), box.height - height) * 10) / 10;
  if (mark.tagName === 'circle') {
    mark.setAttribute('cx', x + width / 2);
    mark.setAttribute('cy', y + height / 2);
  } else {
    mark.setAttribute('x', x);
    mark.setAttribute('y', y);
  }
  const row = mark.dataset.mark;
  field(row, 'anchor').value = 'at';
  field(row, 'x').value = x;
  field(row, 'y').value = y;
}

function millimetres(event) {
  const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(sheet.getScreenCTM().inverse());
  return { x: at.x, y: at.y };
}

for (const mark of sheet?.querySelectorAll('[data-mark]') ?? []) {
  if (mark.classList.contains('outline-straddle')) continue; // it stands at the edge
  mark.setAttribute('tabindex', '0');
  mark.setAttribute('role', 'img');
  mark.setAttribute('aria-label', form.querySelector(`[data-row="${mark.dataset.mark}"] legend`).textContent);
  mark.addEventListener('pointerdown', (event) => {
    const from = millimetres(event);
    const start = place(mark);
    const follow = (e) => {
      const to = millimetres(e);
      move(mark, start.x + to.x - from.x, start.y + to.y - from.y);
    };
    mark.setPointerCapture(event.pointerId);
    mark.addEventListener('pointermove', follow);
    mark.addEventListener('pointerup', () => mark.removeEventListener('pointermove', follow), { once: true });
    event.preventDefault();
  });
  mark.addEventListener('keydown', (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!step) return;
    const by = event.shiftKey ? 10 : 1;
    const { x, y } = place(mark);
    move(mark, x + step[0] * by, y + step[1] * by);
    event.preventDefault();
  });
}
