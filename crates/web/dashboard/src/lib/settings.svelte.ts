// What a person chose for this browser.

type Theme = 'system' | 'light' | 'dark';

function read(name: string): string | null {
  try {
    return localStorage.getItem(name);
  } catch {
    return null; // Storage is switched off: the choice lasts as long as the page.
  }
}

function write(name: string, value: string): void {
  try {
    localStorage.setItem(name, value);
  } catch {
    // As above.
  }
}

class Settings {
  theme = $state<Theme>((read('theme') as Theme | null) ?? 'system');
  comfortable = $state(read('comfortable') === 'yes');

  constructor() {
    this.#show();
  }

  nextTheme(): void {
    this.theme = this.theme === 'system' ? 'light' : this.theme === 'light' ? 'dark' : 'system';
    write('theme', this.theme);
    this.#show();
  }

  toggleComfortable(): void {
    this.comfortable = !this.comfortable;
    write('comfortable', this.comfortable ? 'yes' : 'no');
    this.#show();
  }

  #show(): void {
    const root = document.documentElement;
    root.dataset.theme = this.theme;
    root.dataset.rows = this.comfortable ? 'comfortable' : 'dense';
  }
}

export const settings = new Settings();
