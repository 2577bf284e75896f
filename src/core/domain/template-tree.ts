import { makeElement, type XmlElement, type XmlNode } from './xml-tree.js';

/** Handlebars in an XML tree: inserts variables, and escapes text that looks like one. */

export function variable(name: string): XmlNode {
  return raw(`{{${name}}}`);
}

export function raw(text: string): XmlNode {
  return { kind: 'text', text };
}

export function rawElement(name: string, attributes: Record<string, string>): XmlElement {
  return { ...makeElement(name), attributes: new Map(Object.entries(attributes)) };
}

/** Template text after a child. */
export function putAfter(parent: XmlElement, child: XmlElement, text: string): void {
  parent.children.splice(parent.children.indexOf(child) + 1, 0, raw(text));
}

export function hidden(text: string): string {
  return text.replace(/[{\\]/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** Escapes braces and backslashes that Handlebars would interpret, as XML character references. */
export function hideBraces(node: XmlElement): void {
  for (const [name, value] of node.attributes) node.attributes.set(name, hidden(value));
  // Comments and CDATA do not allow references: comments are dropped, and CDATA becomes text.
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
