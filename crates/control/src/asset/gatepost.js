// What makes the pages pleasant; everything works without it.
//   <time data-ago>            "3 min ago" is kept true
//   [data-live="/events/x"]    replaced by HTML fragments from server-sent events (event name: the element's id)
//   form[data-auto]            sent when a field changes
//   [data-copy="#id"]          a button that copies an element's text
//   dialog[data-open]          opened by a button whose data-dialog names it
//   [data-all]                 a checkbox that ticks all of its table
const units = [[172800, 86400, 'days'], [7200, 3600, 'h'], [120, 60, 'min'], [1, 1, 's']];
function ago(at) {
  const s = Math.round((Date.parse(at) - Date.now()) / 1000), size = Math.abs(s);
  const unit = units.find(([from]) => size >= from);
  if (!unit) return 'now';
  const text = `${Math.floor(size / unit[1])} ${unit[2]}`;
  return s > 0 ? `in ${text}` : `${text} ago`;
}
function tick() {
  for (const time of document.querySelectorAll('time[data-ago]')) {
    if (time.textContent !== 'never') time.textContent = ago(time.dateTime);
  }
}
setInterval(tick, 1000);

for (const live of document.querySelectorAll('[data-live]')) {
  const source = new EventSource(live.dataset.live);
  const put = (event) => {
    const place = document.getElementById(event.type === 'message' ? live.id : event.type);
    if (!place) return;
    if (place.dataset.mode === 'append') {
      const atEnd = place.scrollTop + place.clientHeight >= place.scrollHeight - 8;
      place.insertAdjacentHTML('beforeend', event.data);
      while (place.children.length > 2000) place.firstElementChild.remove();
      if (atEnd) place.scrollTop = place.scrollHeight;
    } else if (!place.contains(document.activeElement) || document.activeElement === place) {
      place.innerHTML = event.data;
    }
  };
  source.onmessage = put;
  for (const name of (live.dataset.events || '').split(' ').filter(Boolean)) source.addEventListener(name, put);
  source.addEventListener('end', () => source.close());
  source.addEventListener('signed-out', () => {
    source.close();
    const notice = document.createElement('p');
    notice.className = 'notice warn';
    notice.setAttribute('role', 'alert');
    notice.textContent = 'You are signed out, or may not see this any more: nothing new is shown. ';
    const again = document.createElement('a');
    again.href = location.href;
    again.textContent = 'Load the page again';
    notice.append(again);
    live.before(notice);
  });
}

document.addEventListener('change', (event) => {
  const all = event.target.closest('[data-all]');
  if (all) for (const box of all.closest('table').querySelectorAll('tbody input[type=checkbox]')) box.checked = all.checked;
  const form = event.target.closest('form[data-auto]');
  if (form) form.requestSubmit();
});

document.addEventListener('click', async (event) => {
  const copy = event.target.closest('[data-copy]');
  if (copy) {
    await navigator.clipboard.writeText(document.querySelector(copy.dataset.copy).textContent);
    const before = copy.textContent;
    copy.textContent = 'Copied';
    setTimeout(() => { copy.textContent = before; }, 1500);
  }
  const opener = event.target.closest('[data-dialog]');
  if (opener) document.getElementById(opener.dataset.dialog).showModal();
  if (event.target.closest('[data-close]')) event.target.closest('dialog').close();
});

// The menu of who is signed in closes as menus do.
document.addEventListener('click', (event) => {
  for (const open of document.querySelectorAll('details.who[open]')) if (!open.contains(event.target)) open.open = false;
});
// A log is read from its end.
for (const log of document.querySelectorAll('.log[data-live]')) log.scrollTop = log.scrollHeight;

document.addEventListener('keydown', (event) => {
  const menu = event.key === 'Escape' && document.querySelector('details.who[open]');
  if (menu) {
    menu.open = false;
    menu.querySelector('summary').focus();
  }
  if (event.key === '/' && !event.target.closest('input, textarea, select')) {
    const find = document.getElementById('find');
    if (find) { event.preventDefault(); find.focus(); }
  }
});
