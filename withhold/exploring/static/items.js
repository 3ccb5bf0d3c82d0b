// Items as a picture, a player or a text. Everything that comes from data is inserted as text.

export function make(tag, properties = {}, ...children) {
  const { data, ...rest } = properties, element = Object.assign(document.createElement(tag), rest);
  Object.assign(element.dataset, data ?? {});
  element.append(...children);
  return element;
}

// An item in large; `kind` is the kind of data, `item` its details from the server.
export function shown(kind, item) {
  const box = make("div", { className: `shown ${kind}` });
  if (kind === "text") box.append(make("pre", { textContent: item.text || "This text cannot be read." }));
  if (kind === "video") box.append(make("video", { src: `/film/${item.item}`, controls: true, muted: true, autoplay: true, loop: true, poster: `/picture/${item.item}/large` }));
  if (kind === "image" || kind === "audio") box.append(picture(item, "large"));
  if (kind === "audio") box.append(make("audio", { src: `/film/${item.item}`, controls: true, autoplay: true }));
  return box;
}

function picture(item, size) {
  const image = make("img", { src: `/picture/${item.item}/${size}`, alt: item.name, loading: size === "small" ? "lazy" : "eager", decoding: "async" });
  image.onload = () => image.classList.toggle("crisp", Math.max(image.naturalWidth, image.naturalHeight) <= 64);
  return image;
}

// A small preview for the map.
export function preview(kind, item, label) {
  const parts = kind === "text" ? [make("span", { textContent: item.text ?? "" })] : [picture(item, "small")];
  return [...parts, make("div", { textContent: label })];
}

// Fills a list with items as buttons, or appends further ones.
export function grid(list, kind, items, open, further = false) {
  list.classList.toggle("texts", kind === "text");
  const made = items.map((item) => {
    const button = make("button", { type: "button", title: item.name, data: { item: item.item } });
    button.append(kind === "text" ? make("span", { className: "text", textContent: item.text }) : picture(item, "small"));
    button.append(make("span", { textContent: item.name.split("/").at(-1) }));
    if (item.note) button.append(make("span", { className: "note", textContent: item.note, title: item.note }));
    button.onclick = () => open(item.item);
    return make("li", {}, button);
  });
  if (further) list.append(...made); else list.replaceChildren(...made);
}
