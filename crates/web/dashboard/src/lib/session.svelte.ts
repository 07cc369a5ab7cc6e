// Who is signed in.
import { Failure, get, send } from '../api/client';
import type { Session } from '../api/types';

class SignedIn {
  /** `undefined`: not asked yet; `null`: nobody. */
  session = $state<Session | null | undefined>(undefined);
  #asking: Promise<void> | undefined;

  /** Asks the hub, once for all who ask at a time. A hub that does not answer leaves things as they are and is thrown. */
  ask(): Promise<void> {
    this.#asking ??= this.#ask().finally(() => (this.#asking = undefined));
    return this.#asking;
  }

  async #ask(): Promise<void> {
    try {
      this.session = await get<Session>('/v1/session');
    } catch (error) {
      if (error instanceof Failure && error.status === 401) this.session = null;
      else throw error;
    }
  }

  async signIn(name: string, password: string): Promise<void> {
    this.session = await send<Session>('POST', '/v1/session', { name, password });
  }

  /** Ends the person's other sessions. */
  async changePassword(current: string, wanted: string): Promise<void> {
    await send('PUT', '/v1/session/password', { current, new: wanted });
  }

  async signOut(everywhere: boolean): Promise<void> {
    try {
      await send('DELETE', everywhere ? '/v1/session?everywhere=true' : '/v1/session');
    } catch (error) {
      // It has ended already.
      if (!(error instanceof Failure && error.status === 401)) throw error;
    }
    this.session = null;
  }

  may(scope: string): boolean {
    const scopes = this.session?.scopes ?? [];
    return scopes.includes(scope) || scopes.includes('admin');
  }
}

export const signedIn = new SignedIn();
