import { makeElement, type XmlElement, type XmlNode } from './xml-tree.js';

/** Handlebars in a tree of XML: variables go in, and what looks like one and is none is written so that it does not. */

export function variable(name: string): XmlNode {
  return raw(`{{${name}}}`);
}

export function raw(text: string): XmlNode {
  return { kind: 'text', text };
}

export function rawElement(name: string, attributes: Record<string, string>): XmlElement {
  return { ...makeElement(name), attributes: new Map(Object.entries(attributes)) };
}

/** Text of the template behind a child. */
export function putAfter(parent: XmlElement, child: XmlElement, text: string): void {
  parent.children.splice(parent.children.indexOf(child) + 1, 0, raw(text));
}

export function hidden(text: string): string {
  return text.replace(/[{\\]/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** Braces that Handlebars would read, and the backslash that escapes them, are written as character references, which mean the same. */
export function hideBraces(node: XmlElement): void {
  for (const [name, value] of node.attributes) node.attributes.set(name, hidden(value));
  // The same in a comment or a CDATA section would not: a comment says nothing to libvirt, and CDATA is text.
  node.children = node.children.flatMap((child): XmlNode[] => {
    if (child.kind === 'comment') return [];
    if (child.kind === 'element') {
      hideBraces(child);
      return [child];
    }
    const text = child.kind === 'cdata' ? child.text.replace(/[&<>]/g, (character) => `&#${character.charCodeAt(0)};`) : child.text;
    return [raw(hidden(text))];
  });
}
