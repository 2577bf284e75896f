import './style/colors.css';
import './style/base.css';
import './style/controls.css';
import './style/parts.css';
import './style/grid.css';
import './style/table.css';
import './style/dialog.css';
import './style/member.css';
import './style/layout.css';
import { render } from 'preact';
import { startFollowing } from './store/page-store.js';
import { App } from './views/app.js';

const place = document.getElementById('page');
if (place !== null) {
  startFollowing();
  render(<App />, place);
}
