import { describe, expect, it } from 'vitest';
import {
  attribute,
  copyElement,
  element,
  elements,
  innerText,
  insertAfter,
  makeElement,
  parseXml,
  printXml,
  removeChild,
  setAttribute,
  setText,
} from '../../../../src/core/domain/xml-tree.js';

const document = `<domain type="kvm" xmlns:qemu="http://libvirt.org/schemas/domain/qemu/1.0">
  <name>a&amp;b</name>
  <!-- a remark: <not/> an element -->
  <metadata>
    <app:note xmlns:app="urn:app" title="&quot;x&quot; &lt; &#10;y">mixed <b>text</b> here<![CDATA[<raw & stuff>]]></app:note>
  </metadata>
  <devices>
    <disk type="file"/>
    <disk type="block"><x/></disk>
  </devices>
  <qemu:commandline><qemu:arg value="-x"/></qemu:commandline>
</domain>
`;

describe('an XML document that is edited', () => {
  it('is unchanged without edits', () => {
    expect(printXml(parseXml(document, 'it'))).toBe(document);
    expect(
      printXml(
        parseXml(
          `<?xml version='1.0'?>\n${document.replaceAll('"', "'").replace(/title='[^']*'/, "title='&quot;x&quot; &lt; &#10;y'")}`,
          'it',
        ),
      ),
    ).toBe(document);
  });

  it('reads attributes and text with entities resolved', () => {
    const root = parseXml(document, 'it');
    expect(innerText(element(root, 'name'))).toBe('a&b');
    const note = element(root, 'metadata', 'app:note');
    expect(attribute(note, 'title')).toBe('"x" < \ny');
    expect(innerText(note)).toBe('mixed  here<raw & stuff>');
    expect(attribute(note, 'absent')).toBeUndefined();
    expect(elements(element(root, 'devices'), 'disk').map((disk) => attribute(disk, 'type'))).toEqual(['file', 'block']);
  });

  it('changes only what is requested', () => {
    const root = parseXml(document, 'it');
    const devices = element(root, 'devices');
    const [first, second] = elements(devices, 'disk');
    if (devices === undefined || first === undefined || second === undefined) throw new Error('no disks');
    const copy = copyElement(second);
    setAttribute(first, 'type', `it's <"&">`);
    removeChild(devices, second);
    insertAfter(devices, makeElement('new', { a: '&' }), first);
    setText(element(root, 'name') ?? first, 'x < y');
    const changed = printXml(root);
    expect(changed).toBe(
      document
        .replace('<name>a&amp;b', '<name>x &#60; y')
        .replace('<disk type="file"/>', '<disk type="it&#39;s &#60;&#34;&#38;&#34;&#62;"/>')
        .replace('<disk type="block"><x/></disk>', '<new a="&#38;"/>'),
    );
    expect(attribute(element(parseXml(changed, 'it'), 'devices', 'disk'), 'type')).toBe(`it's <"&">`);
    expect(copy.children).toHaveLength(1);
  });

  it.each([
    ['<a><b></a>', 'not well-formed'],
    ['<!DOCTYPE x [<!ENTITY e "f">]><a/>', 'document type'],
    ['<a><?php echo ?></a>', 'processing instruction'],
    ['', 'well-formed|no element'],
  ])('refuses %s', (text, reason) => {
    expect(() => parseXml(text, 'The XML of lab')).toThrow(new RegExp(reason));
  });
});
