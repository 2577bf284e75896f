/** The nonce that the page's policy requires of <style> elements. Browsers hide it in the attribute of elements other than meta. */
export function styleNonce(): string {
  return document.querySelector<HTMLMetaElement>('meta[name="csp-nonce"]')?.content ?? '';
}
