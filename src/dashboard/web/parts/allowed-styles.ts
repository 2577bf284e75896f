import { styleNonce } from './nonce.js';

/**
 * xterm.js creates <style> elements, and sets the attribute `style` of its spans for colors. The policy of the page allows the former with
 * its nonce only, and the latter from scripts by way of CSSOM only. Its option documentOverride does not reach all of its code.
 */

let users = 0;

/** Changes what the document creates, so that it follows the policy. @returns ends that */
export function allowStyles(): () => void {
  users += 1;
  document.createElement = createAllowed as typeof document.createElement;
  let isUsed = true;
  return () => {
    if (!isUsed) return;
    isUsed = false;
    users -= 1;
    // The method of the prototype is visible again.
    if (users === 0) Reflect.deleteProperty(document, 'createElement');
  };
}

function createAllowed(name: string, options?: ElementCreationOptions): HTMLElement {
  const element = Document.prototype.createElement.call(document, name, options);
  if (element instanceof HTMLStyleElement) element.nonce = styleNonce();
  if (name === 'span') element.setAttribute = setAttributeAllowed;
  return element;
}

function setAttributeAllowed(this: HTMLElement, name: string, value: string): void {
  if (name === 'style') this.style.cssText = value;
  else Element.prototype.setAttribute.call(this, name, value);
}
