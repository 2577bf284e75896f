import { CowherdError } from '../../core/errors.js';

/** The proxies of the environment. undici reads NO_PROXY itself. */

export interface Proxies {
  /** Empty if there is none, so that undici does not read the environment again. */
  httpProxy: string;
  httpsProxy: string;
}

/** @throws BAD_USAGE for an address that is no URL of a proxy */
export function proxiesOfEnvironment(): Proxies {
  return { httpProxy: proxyIn('HTTP_PROXY'), httpsProxy: proxyIn('HTTPS_PROXY') };
}

/** The lower-case name takes precedence, as in curl. */
function proxyIn(variable: string): string {
  const value = (process.env[variable.toLowerCase()] || process.env[variable] || '').trim();
  if (value === '') return '';
  // curl and wget accept HOST:PORT, too.
  const text = value.includes('://') ? value : `http://${value}`;
  if (URL.canParse(text) && /^(https?|socks5?):$/.test(new URL(text).protocol) && isDecodable(new URL(text))) return text;
  // The value may contain a password.
  throw new CowherdError('BAD_USAGE', `The value of ${variable} is not the address of a proxy`, {
    hint: `Set it to the URL of the proxy, or unset it: ${variable}=http://HOST:PORT`,
  });
}

function isDecodable({ username, password }: URL): boolean {
  try {
    decodeURIComponent(username + password);
    return true;
  } catch {
    return false;
  }
}
