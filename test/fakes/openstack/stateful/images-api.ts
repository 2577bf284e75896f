import { createHash } from 'node:crypto';
import type { Reply } from '../fake-cloud.js';
import { virtualSizeOf } from './disk-size.js';
import { imageView, newImage } from './image-views.js';
import { glanceRefusal, pageOf, queryAfter, type Request } from './request.js';
import { type CloudImage, type Guest, usualGuest } from './world.js';

/** Entries of a page: Glance returns few if it is not asked for more. */
const usualPage = 25;
/** Fields of an image that are no properties of it. */
const ownFields = new Set(['id', 'name', 'disk_format', 'container_format', 'visibility', 'protected', 'tags', 'min_disk', 'min_ram']);

/** /images of the Image API. @param guestOf what the guests of an image with this name do @returns undefined: not known */
export function imagesApi(request: Request, guestOf: (name: string) => Guest | undefined): Reply | undefined {
  const { world, method, path } = request;
  const [, id, part, tag] = path;
  if (method === 'GET') world.pass(world.options.msPerRead ?? 0);
  if (id === undefined) {
    return method === 'GET' ? list(request) : method === 'POST' ? create(request, guestOf) : undefined;
  }
  const image = world.images.get(id);
  if (image === undefined) return glanceRefusal(404, `No image found with ID ${id}`);
  if (part === 'file' && method === 'PUT') return upload(request, image);
  if (part === 'tags' && tag !== undefined) return setTag(request, image, tag);
  if (part !== undefined) return undefined;
  if (method === 'GET') return { status: 200, reply: imageView(world, image) };
  if (method === 'PATCH') return patch(request, image);
  return method === 'DELETE' ? remove(request, image) : undefined;
}

function list(request: Request): Reply {
  const { world, query } = request;
  const images = [...world.images.values()].filter((image) => matches(request, image)).sort((a, b) => b.sequence - a.sequence);
  const most = world.options.pageSize ?? 1_000;
  const found = pageOf(images, query, { usual: Math.min(usualPage, most), most });
  if (found === 'no such marker') return glanceRefusal(400, 'Marker could not be found');
  const { page, marker } = found;
  return {
    status: 200,
    reply: {
      images: page.map((image) => imageView(world, image)),
      first: `/v2/images?${query}`,
      ...(marker === undefined ? {} : { next: `/v2/images?${queryAfter(query, marker)}` }),
      schema: '/v2/schemas/images',
    },
  };
}

function matches({ world, query }: Request, image: CloudImage): boolean {
  const view = imageView(world, image);
  for (const [key, value] of query) {
    if (['limit', 'marker', 'sort', 'sort_key', 'sort_dir', 'member_status', 'os_hidden'].includes(key)) continue;
    if (key === 'tag' ? !image.tags.includes(value) : String(view[key] ?? '') !== value) return false;
  }
  return true;
}

function create({ world, body }: Request, guestOf: (name: string) => Guest | undefined): Reply {
  const { id, name = null } = body;
  if (id !== undefined && world.usedImageIds.has(id)) return glanceRefusal(409, `Image ID ${id} already exists!`);
  const properties = Object.fromEntries(Object.entries<string>(body).filter(([key]) => !ownFields.has(key)));
  const image = newImage(world, {
    ...{ name, properties, tags: body.tags ?? [], visibility: body.visibility ?? 'shared', isProtected: body.protected ?? false },
    ...{ format: body.disk_format ?? null, container: body.container_format ?? null },
    ...{ minDisk: body.min_disk ?? 0, minRam: body.min_ram ?? 0, guest: guestOf(name ?? '') ?? usualGuest },
    ...(id === undefined ? {} : { id }),
  });
  return { status: 201, reply: imageView(world, image) };
}

function upload({ world, raw = Buffer.alloc(0) }: Request, image: CloudImage): Reply {
  if (image.status !== 'queued') {
    return glanceRefusal(409, `Image status transition from ${image.status} to saving is not allowed`);
  }
  const sha512 = createHash('sha512').update(raw).digest('hex');
  const virtualBytes = virtualSizeOf(image.format, raw);
  Object.assign(image, { status: 'active', bytes: raw.length, virtualBytes, sha512, updated: world.now() });
  return { status: 204 };
}

function remove({ world }: Request, { id, isProtected }: CloudImage): Reply {
  if (isProtected) return glanceRefusal(403, `Image ${id} is protected and cannot be deleted.`);
  world.images.delete(id);
  return { status: 204 };
}

function setTag({ method }: Request, image: CloudImage, tag: string): Reply | undefined {
  const others = image.tags.filter((one) => one !== tag);
  if (method === 'DELETE' && others.length === image.tags.length) return glanceRefusal(404, `Could not find tag ${tag}`);
  if (method !== 'PUT' && method !== 'DELETE') return undefined;
  image.tags = method === 'PUT' ? [...others, tag] : others;
  return { status: 204 };
}

interface Operation {
  op: 'add' | 'replace' | 'remove';
  path: string;
  value?: any;
}

/** A JSON patch, which is applied as a whole or not at all. */
function patch({ world, body }: Request, image: CloudImage): Reply {
  const changed: CloudImage = { ...image, properties: { ...image.properties } };
  for (const operation of body as Operation[]) {
    const refusal = apply(operation, changed);
    if (refusal !== undefined) return refusal;
  }
  Object.assign(image, changed, { updated: world.now() });
  return { status: 200, reply: imageView(world, image) };
}

function apply({ op, path, value }: Operation, image: CloudImage): Reply | undefined {
  const name = decodeURIComponent(path.slice(1)).replaceAll('~1', '/').replaceAll('~0', '~');
  switch (name) {
    case 'name':
      image.name = value;
      return undefined;
    case 'protected':
      image.isProtected = value;
      return undefined;
    case 'tags':
      image.tags = value;
      return undefined;
    case 'visibility':
      image.visibility = value;
      return undefined;
    case 'min_disk':
      image.minDisk = value;
      return undefined;
    default:
      return setProperty(op, name, value, image);
  }
}

function setProperty(op: Operation['op'], name: string, value: string, image: CloudImage): Reply | undefined {
  if (ownFields.has(name) || ['status', 'owner', 'size'].includes(name)) return glanceRefusal(403, `Attribute '${name}' is read-only.`);
  if (op !== 'add' && !(name in image.properties)) {
    return glanceRefusal(409, `Property ${name} does not exist.`);
  }
  if (op === 'remove') delete image.properties[name];
  else image.properties[name] = value;
  return undefined;
}
