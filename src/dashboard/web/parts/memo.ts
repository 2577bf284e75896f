import { Component, type ComponentChild, type ComponentType } from 'preact';

/** A view that is skipped if all its properties are the same objects as before. */
export function memo<P extends object>(view: (props: P) => ComponentChild): ComponentType<P> {
  return class Memo extends Component<P> {
    override shouldComponentUpdate(next: Readonly<P>): boolean {
      return !isSame(this.props, next);
    }
    override render(): ComponentChild {
      return view(this.props as P);
    }
  };
}

/** Both have the same keys: they come from the same place. */
function isSame(before: object, next: object): boolean {
  for (const key in next) if (!Object.is(before[key as keyof object], next[key as keyof object])) return false;
  return true;
}
