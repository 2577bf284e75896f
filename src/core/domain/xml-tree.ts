import { XMLBuilder, XMLParser, XMLValidator } from 'fast-xml-parser';
import { CowherdError } from '../errors.js';

/**
 * An XML document for partial edits: unchanged parts keep their exact meaning, including elements
 * and namespaces that are unknown here. Quotes around attributes become double quotes, and an empty element is written
 * in the short form.
 */

export interface XmlElement {
  kind: 'element';
  /** With its prefix, as written. */
  name: string;
  /** Raw: entities are as written. Read with {@link attribute}. */
  attributes: Map<string, string>;
  children: XmlNode[];
}

export type XmlNode = XmlElement | { kind: 'text' | 'comment' | 'cdata' /** Raw. */; text: string };

// The parser's format of ordered documents: one key with the children, and ':@' with the attributes.
type OrderedNode = { [key: string]: unknown; ':@'?: Record<string, string> };

const options = {
  preserveOrder: true,
  ignoreAttributes: false,
  attributeNamePrefix: '@',
  commentPropName: '#comment',
  cdataPropName: '#cdata',
  processEntities: false,
} as const;

const parser = new XMLParser({ ...options, parseTagValue: false, parseAttributeValue: false, trimValues: false });
const builder = new XMLBuilder({ ...options, suppressEmptyNode: true, format: false });

/**
 * @param what e.g. `The XML of lab`, for messages
 * @returns the root element, without a declaration and anything around the root
 * @throws BAD_TEMPLATE if it is not well-formed, or cannot be written back unchanged
 */
export function parseXml(text: string, what: string): XmlElement {
  const refuse = (reason: string): CowherdError =>
    new CowherdError('BAD_TEMPLATE', `${what} cannot be edited: ${reason}`, { hint: 'Look at it with "virsh dumpxml --inactive".' });
  const wellFormed = XMLValidator.validate(text);
  if (wellFormed !== true) throw refuse(`it is not well-formed at line ${wellFormed.err.line}: ${wellFormed.err.msg}`);
  if (/<!DOCTYPE/i.test(text)) throw refuse('it has a document type declaration');
  // The parser drops their content.
  if (/<\?(?!xml\s)/.test(text)) throw refuse('it has a processing instruction');
  let nodes: OrderedNode[];
  try {
    nodes = parser.parse(text) as OrderedNode[];
  } catch (cause) {
    // For example names that are dangerous as object keys.
    throw refuse(cause instanceof Error ? cause.message : String(cause));
  }
  const root = nodes.map(fromOrdered).find((node) => node?.kind === 'element');
  if (root === undefined) throw refuse('it has no element');
  return root as XmlElement;
}

export function printXml(root: XmlElement): string {
  return `${builder.build([toOrdered(root)])}\n`;
}

function fromOrdered(node: OrderedNode): XmlNode | undefined {
  const name = Object.keys(node).find((key) => key !== ':@');
  if (name === undefined || name.startsWith('?')) return undefined;
  const content = node[name];
  if (name === '#text') return { kind: 'text', text: String(content) };
  if (name === '#comment' || name === '#cdata') {
    const [inner] = content as OrderedNode[];
    return { kind: name === '#cdata' ? 'cdata' : 'comment', text: String(inner?.['#text'] ?? '') };
  }
  return {
    kind: 'element',
    name,
    attributes: new Map(Object.entries(node[':@'] ?? {}).map(([key, value]) => [key.slice(1), value])),
    children: (content as OrderedNode[]).map(fromOrdered).filter((child) => child !== undefined),
  };
}

function toOrdered(node: XmlNode): OrderedNode {
  if (node.kind !== 'element') return node.kind === 'text' ? { '#text': node.text } : { [`#${node.kind}`]: [{ '#text': node.text }] };
  const attributes = Object.fromEntries([...node.attributes].map(([key, value]) => [`@${key}`, value]));
  return { [node.name]: node.children.map(toOrdered), ...(node.attributes.size === 0 ? {} : { ':@': attributes }) };
}

/** Child elements of a name, or all of them. */
export function elements(parent: XmlElement | undefined, name?: string): XmlElement[] {
  return (parent?.children ?? []).filter(
    (node): node is XmlElement => node.kind === 'element' && (name === undefined || node.name === name),
  );
}

/** The first element at a path of names below an element. */
export function element(parent: XmlElement | undefined, ...path: string[]): XmlElement | undefined {
  return path.reduce<XmlElement | undefined>((current, name) => elements(current, name)[0], parent);
}

/** The value of an attribute with entities resolved; undefined if missing. */
export function attribute(node: XmlElement | undefined, name: string): string | undefined {
  const raw = node?.attributes.get(name);
  return raw === undefined ? undefined : decodeEntities(raw);
}

export function setAttribute(node: XmlElement, name: string, value: string | undefined): void {
  if (value === undefined) node.attributes.delete(name);
  else node.attributes.set(name, encodeEntities(value));
}

/** The text inside an element with entities resolved, trimmed. */
export function innerText(node: XmlElement | undefined): string {
  const parts = (node?.children ?? []).map((child) =>
    child.kind === 'text' ? decodeEntities(child.text) : child.kind === 'cdata' ? child.text : '',
  );
  return parts.join('').trim();
}

export function setText(node: XmlElement, value: string): void {
  node.children = [{ kind: 'text', text: encodeEntities(value) }];
}

export function makeElement(name: string, attributes: Record<string, string> = {}, children: XmlNode[] = []): XmlElement {
  return {
    kind: 'element',
    name,
    attributes: new Map(Object.entries(attributes).map(([key, value]) => [key, encodeEntities(value)])),
    children,
  };
}

/** Removes a child with the whitespace before it. */
export function removeChild(parent: XmlElement, child: XmlElement): void {
  const position = parent.children.indexOf(child);
  if (position < 0) return;
  const before = parent.children[position - 1];
  const blanks = before?.kind === 'text' && before.text.trim() === '' ? 1 : 0;
  parent.children.splice(position - blanks, 1 + blanks);
}

/** Inserts a child after another one (or first), on its own line if its neighbours are. */
export function insertAfter(parent: XmlElement, child: XmlElement, neighbour: XmlElement | undefined): void {
  const blanks = parent.children.find((node) => node.kind === 'text' && /^\s*\n\s*$/.test(node.text));
  const position = neighbour === undefined ? 0 : parent.children.indexOf(neighbour) + 1;
  parent.children.splice(position, 0, ...(blanks === undefined ? [] : [{ ...blanks }]), child);
}

/** A deep copy. */
export function copyElement(node: XmlElement): XmlElement {
  return {
    ...node,
    attributes: new Map(node.attributes),
    children: node.children.map((child) => (child.kind === 'element' ? copyElement(child) : { ...child })),
  };
}

const named: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

export function decodeEntities(raw: string): string {
  return raw.replace(/&(?:#x([0-9a-fA-F]{1,6})|#(\d{1,7})|(\w+));/g, (whole, hex: string, decimal: string, name: string) => {
    if (name !== undefined) return named[name] ?? whole;
    const code = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16);
    return code <= 0x10ffff ? String.fromCodePoint(code) : whole;
  });
}

function encodeEntities(value: string): string {
  return value.replace(/[&<>"'\n\r\t]/g, (character) => `&#${character.charCodeAt(0)};`);
}
