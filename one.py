from playwright.sync_api import sync_playwright
import time
FLAGS=["--no-sandbox","--disable-gpu"]
with sync_playwright() as p:
    b=p.chromium.launch(executable_path='/usr/bin/chromium',headless=True,args=FLAGS)
    pg=b.new_page(); 
    pg.on('console',lambda m:print(m.type,m.text,m.location)); pg.on('pageerror',lambda e:print('ERR',e)); pg.on('requestfailed',lambda r:print('FAIL',r.url,r.failure)); pg.on('response',lambda r:print(r.status,r.url))
    pg.on('websocket',lambda w:(print('ws',w.url), w.on('close',lambda _:print('wsclose')), w.on('framereceived',lambda f:print('<',f)), w.on('framesent',lambda f:print('>',f))))
    pg.goto('http://127.0.0.1:8899/shop'); time.sleep(4); print(pg.inner_text('body')[:1500])
