'use strict';
// The secret is in the fragment, which no server sees. It stays in this tab.
const given = location.hash.slice(1);
if (given) {
  sessionStorage.setItem('secret', given);
  history.replaceState(null, '', location.pathname);
}
const secret = sessionStorage.getItem('secret') ?? '';
const state = document.getElementById('state');
const list = document.getElementById('questions');
// A click that was meant for something else must not answer a new question.
const GRACE_MS = 700;

const call = (path, init = {}) =>
  fetch(path, { ...init, headers: { Authorization: `Bearer ${secret}` }, cache: 'no-store' });

function section(question) {
  const element = document.createElement('section');
  element.id = question.id;
  const text = document.createElement('pre');
  text.textContent = question.text;
  element.append(text);
  for (const word of question.words) {
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = word[0].toUpperCase() + word.slice(1);
    button.onclick = async () => {
      for (const other of element.querySelectorAll('button')) other.disabled = true;
      const response = await call('answer', { method: 'POST', body: JSON.stringify({ id: question.id, word }) });
      if (!response.ok) state.textContent = await response.text();
    };
    element.append(button);
  }
  return element;
}

let grace;

/** Disables all buttons for a moment: a change of the list moves another question below the pointer. */
function rest() {
  const buttons = () => list.querySelectorAll('button');
  for (const button of buttons()) button.disabled = true;
  clearTimeout(grace);
  grace = setTimeout(() => {
    for (const button of buttons()) button.disabled = false;
  }, GRACE_MS);
}

function show(questions) {
  const ids = new Set(questions.map((question) => question.id));
  for (const element of [...list.children]) if (!ids.has(element.id)) element.remove();
  for (const question of questions) if (!document.getElementById(question.id)) list.append(section(question));
  rest();
  state.textContent =
    questions.length > 0
      ? 'The helper on this machine asks:'
      : 'The helper on this machine asks nothing now. You can close this page: the helper opens it again when it needs you.';
  document.title = questions.length > 0 ? `(${questions.length}) Causeway asks` : 'Causeway';
}

async function follow() {
  let version = -1;
  for (;;) {
    try {
      const response = await call(`questions?after=${version}`);
      if (response.status === 401 || response.status === 403) {
        list.replaceChildren();
        document.title = 'Causeway';
        state.textContent =
          'This page belongs to a helper that has ended. Close it: the helper opens a new page when it needs you.';
        return;
      }
      if (!response.ok) throw new Error(await response.text());
      const news = await response.json();
      version = news.version;
      show(news.questions);
    } catch {
      list.replaceChildren();
      version = -1;
      state.textContent = 'The helper does not answer. This page tries again.';
      await new Promise((resolve) => setTimeout(resolve, 2000));
    }
  }
}

void follow();
