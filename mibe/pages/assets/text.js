// Text of models and data sets as it is: never markup, what cannot be seen made visible, very long text in pieces.
"use strict";

const text = (() => {
  const AT_ONCE = 20000;
  // Controls but for tab and line feed, what turns the direction of writing, and what has no width.
  const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]/;

  const named = (char) => {
    const code = char.charCodeAt(0);
    if (code < 0x20) return String.fromCharCode(0x2400 + code);
    return `U+${code.toString(16).toUpperCase().padStart(4, "0")}`;
  };

  function put(node, string) {
    let rest = string;
    let at = rest.search(UNSEEN);
    while (at >= 0) {
      const mark = document.createElement("span");
      mark.className = "unseen";
      mark.textContent = named(rest[at]);
      node.append(rest.slice(0, at), mark);
      rest = rest.slice(at + 1);
      at = rest.search(UNSEEN);
    }
    node.append(rest);
  }

  // Append a string to a node. Of one that is too long to be laid out at once, both ends, and a button for the next part.
  function append(node, string) {
    if (string.length <= AT_ONCE) {
      put(node, string);
      return;
    }
    const half = AT_ONCE / 2;
    put(node, string.slice(0, half));
    let middle = string.slice(half, -half);
    const more = document.createElement("button");
    more.type = "button";
    more.className = "quiet more";
    const label = () => { more.textContent = `… ${middle.length.toLocaleString("en")} more characters …`; };
    label();
    more.addEventListener("click", () => {
      const shown = document.createElement("span");
      put(shown, middle.slice(0, AT_ONCE));
      more.before(shown);
      middle = middle.slice(AT_ONCE);
      if (middle) label();
      else more.remove();
    });
    node.append(more);
    put(node, string.slice(-half));
  }

  // One line of it, at most `most` characters long.
  const line = (string, most) => string.slice(0, most).replace(/\s+/g, " ").replace(new RegExp(UNSEEN, "g"), named);

  return { append, line };
})();
