// Runs in the page: finds elements of each kind, says what they are and which locators find them.
// One argument: {kinds: {name: [[css, confidence], …]}, limit, text, attribute, ms}. Returns, as JSON, {elements, found, broken, links, title}.
(options) => {
  const begun = performance.now();
  const clean = (text) => (text || "").replace(/\s+/g, " ").trim();
  const cut = (text, length) => (text.length > length ? text.slice(0, length) : text);
  const escape = (text) => CSS.escape(text);

  // the kind of each element: the surest rule wins, of equal ones the first
  const kinds = new Map();
  const broken = [];
  for (const [kind, rules] of Object.entries(options.kinds)) {
    for (const [css, confidence] of rules) {
      let matches;
      try { matches = document.querySelectorAll(css); } catch { broken.push(css); continue; }
      for (const element of matches) {
        const known = kinds.get(element);
        if (!known || known.confidence < confidence) kinds.set(element, { kind, confidence });
      }
    }
  }

  const text = (element) => {
    if (element.tagName === "INPUT") return clean(/^(button|submit|reset)$/.test(element.type) ? element.value : "");
    if (element.tagName === "SELECT" || element.tagName === "TEXTAREA") return "";
    return clean(element.textContent);
  };

  // how many elements of the whole page share a value
  const counters = new Map();
  const count = (attribute, value) => {
    if (!counters.has(attribute)) {
      const counts = new Map();
      for (const element of document.querySelectorAll(`[${attribute}]`)) {
        const found = element.getAttribute(attribute);
        counts.set(found, (counts.get(found) || 0) + 1);
      }
      counters.set(attribute, counts);
    }
    return counters.get(attribute).get(value) || 0;
  };
  const texts = new Map();
  const leaf = (element) => element.children.length === 0;
  for (const element of document.body ? document.body.getElementsByTagName("*") : []) {
    if (!leaf(element) && !kinds.has(element)) continue;
    const own = cut(text(element), 50);
    if (own) texts.set(own, (texts.get(own) || []).concat(texts.has(own) && texts.get(own).length > 3 ? [] : [element]));
  }
  // the text is its own, or that of the only thing inside it
  const holdsText = (element, own) => {
    if (leaf(element)) return true;
    const [only, ...others] = element.children;
    return !others.length && text(only) === own && holdsText(only, own);
  };
  // an element and its only descendant with the same text are found as one
  const uniqueText = (element, own) => {
    if (!holdsText(element, own)) return false;
    const same = texts.get(own) || [];
    return same.every((other) => other === element || element.contains(other) || other.contains(element));
  };

  const matches = (css) => { try { return document.querySelectorAll(css).length; } catch { return 0; } };
  // place among the siblings of its tag, and how many they are; each parent is looked through once
  const families = new Map();
  const place = (element) => {
    const parent = element.parentElement;
    if (!parent) return [1, 1];
    if (!families.has(parent)) {
      const tags = new Map(), places = new Map();
      for (const child of parent.children) {
        tags.set(child.tagName, (tags.get(child.tagName) || 0) + 1);
        places.set(child, tags.get(child.tagName));
      }
      families.set(parent, { tags, places });
    }
    const { tags, places } = families.get(parent);
    return [places.get(element), tags.get(element.tagName)];
  };
  const step = (element) => {
    let part = element.tagName.toLowerCase();
    const first = element.classList[0];
    if (first) part += `.${escape(first)}`;
    const [number, twins] = place(element);
    return twins > 1 ? `${part}:nth-of-type(${number})` : part;
  };
  const path = (element) => {
    const parts = [];
    for (let at = element; at && at !== document.documentElement && parts.length < 4; at = at.parentElement) parts.unshift(step(at));
    return parts.join(" > ");
  };
  const xpath = (element) => {
    const parts = [];
    for (let at = element; at && at.nodeType === 1; at = at.parentElement) {
      const [number, twins] = place(at);
      parts.unshift(at.tagName.toLowerCase() + (twins > 1 ? `[${number}]` : ""));
    }
    return `/${parts.join("/")}`;
  };
  const ROLES = { A: "link", BUTTON: "button", SELECT: "combobox", TEXTAREA: "textbox", NAV: "navigation", TABLE: "table", FORM: "form", DIALOG: "dialog", IMG: "img", H1: "heading", H2: "heading", H3: "heading" };
  const role = (element) => element.getAttribute("role") || ROLES[element.tagName] || null;
  const roles = new Map();
  for (const element of document.querySelectorAll(`[role], a[href], ${Object.keys(ROLES).slice(1).join()}`)) {
    const own = role(element);
    if (own) roles.set(own, (roles.get(own) || 0) + 1);
  }
  const visible = (element) => {
    const style = getComputedStyle(element), box = element.getBoundingClientRect();
    return style.visibility !== "hidden" && style.display !== "none" && Number(style.opacity) !== 0 && box.width > 0 && box.height > 0;
  };
  const INTERACTIVE = new Set(["A", "BUTTON", "INPUT", "SELECT", "TEXTAREA", "SUMMARY", "OPTION"]);
  const interactive = (element) =>
    !element.disabled && element.getAttribute("aria-disabled") !== "true" && getComputedStyle(element).pointerEvents !== "none" &&
    (INTERACTIVE.has(element.tagName) || element.isContentEditable || element.hasAttribute("onclick") || element.tabIndex >= 0);

  const elements = [];
  for (const [element, { kind, confidence }] of kinds) {
    if (elements.length >= options.limit || performance.now() - begun > options.ms) break;
    const attributes = {};
    for (const attribute of [...element.attributes].slice(0, 40)) attributes[cut(attribute.name, 100)] = cut(attribute.value, options.attribute);
    const own = text(element);
    const shared = (attribute) => {
      const value = element.getAttribute(attribute);
      return value && value.length <= 200 ? { value, count: count(attribute, value) } : null;
    };
    const css = path(element);
    const found = {
      "data-testid": shared("data-testid"), id: shared("id"), name: shared("name"), "aria-label": shared("aria-label"),
      text: own.length >= 3 && own.length <= 49 && uniqueText(element, own) ? { value: own, count: 1 } : null,
      css: { value: css, count: css.startsWith("body") ? 1 : matches(css) }, // every step down from the body names one

      role: role(element) ? { value: role(element), count: roles.get(role(element)) } : null,
      xpath: { value: xpath(element), count: 1 },
    };
    const box = element.getBoundingClientRect();
    elements.push({
      kind, confidence, tag: element.tagName.toLowerCase(), text: cut(own, options.text), href: element.href && typeof element.href === "string" ? cut(element.href, 2000) : null,
      attributes, id: element.id || "", classes: element.getAttribute("class") || "", role: role(element),
      is_visible: visible(element), is_interactive: interactive(element), found,
      box: { x: box.x + scrollX, y: box.y + scrollY, width: box.width, height: box.height },
    });
  }
  const links = [...new Set([...document.querySelectorAll("a[href]")].map((link) => link.href))].slice(0, 500);
  return JSON.stringify({ elements, found: kinds.size, broken, links, title: document.title });
}
