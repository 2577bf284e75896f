import { readFile } from 'node:fs/promises';
import { CowherdError } from '../../core/errors.js';
import { Checks } from './api/checks.js';
import { type ImageSource, type UploadOptions, uploadImage } from './api/image-upload.js';
import { Images, type NewImage } from './api/images.js';
import { createServerImage, type NewServerImage } from './api/promotion.js';
import type { CallOptions } from './api/server-actions.js';
import { Servers } from './api/servers.js';
import type { Image } from './core/images.js';
import type { Server } from './core/servers.js';
import type { CloudSettings } from './core/settings.js';
import { type ClientOptions, CloudClient } from './http/client.js';
import type { RequestCounts } from './http/counter.js';
import type { TlsMaterial } from './http/transport.js';

/** One cloud, as one user in one project. */
export class Cloud {
  readonly servers: Servers;
  readonly images: Images;
  readonly checks: Checks;
  readonly #client: CloudClient;

  constructor(client: CloudClient, { clock }: Pick<ClientOptions, 'clock'>) {
    this.#client = client;
    this.servers = new Servers(client, clock);
    this.images = new Images(client, clock);
    this.checks = new Checks(client);
  }

  /** @throws see uploadImage */
  upload(image: NewImage, source: ImageSource, options?: UploadOptions): Promise<Image> {
    return uploadImage(this.#client, this.images, image, source, options);
  }

  /** @throws see createServerImage */
  createServerImage(server: Pick<Server, 'id' | 'name'>, image: NewServerImage, options?: CallOptions): Promise<string> {
    return createServerImage(this.#client, this.images, server, image, options);
  }

  /** The Compute microversion in use. @throws NOT_SUPPORTED */
  microversion(signal?: AbortSignal): Promise<string> {
    return this.#client.microversion(signal);
  }

  /** Id of the project; undefined if the Identity API does not say. */
  projectId(signal?: AbortSignal): Promise<string | undefined> {
    return this.#client.session.projectId(signal);
  }

  /** Requests so far. */
  get counts(): RequestCounts {
    return this.#client.counts;
  }

  close(): void {
    this.#client.close();
  }
}

/** Opens a cloud. Nothing is sent before the first call. @throws FILE_NOT_FOUND if a TLS file cannot be read */
export async function openCloud(settings: CloudSettings, options: ClientOptions): Promise<Cloud> {
  return new Cloud(new CloudClient(settings, await tlsMaterial(settings), options), options);
}

async function tlsMaterial({ tls, source }: CloudSettings): Promise<TlsMaterial> {
  const { isVerified, caFile, certFile, keyFile } = tls;
  const read = (path: string): Promise<string> =>
    readFile(path, 'utf8').catch((cause: unknown) => {
      throw new CowherdError('FILE_NOT_FOUND', `The TLS file ${path} cannot be read`, {
        hint: `Check cacert, cert and key in ${source}.`,
        cause,
      });
    });
  return {
    isVerified,
    ...(caFile === undefined ? {} : { ca: await read(caFile) }),
    ...(certFile === undefined ? {} : { cert: await read(certFile) }),
    ...(keyFile === undefined && certFile === undefined ? {} : { key: await read(keyFile ?? certFile ?? '') }),
  };
}
