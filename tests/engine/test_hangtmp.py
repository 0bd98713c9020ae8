import sys, time, os, signal
sys.path.insert(0,'/work/main')
import pytest
from tests.engine import publishkit
from tests.engine.test_push import wait
def test_it(request, tmp_path_factory):
    t=publishkit.there(request,tmp_path_factory); b=t.bench
    t.proxy.clear()
    h=t.proxy.hang(times=None,path=t.record.layers[1].digest)
    with b.program("verify",t.image,"--key",b.key.public) as p:
        wait(p,lambda:h.struck>0); time.sleep(1)
        p.send_signal(signal.SIGINT); a=time.time(); d=publishkit.ended(p,400); print("VERIFY",d.status,time.time()-a)
    t.proxy.clear()
    h=t.proxy.hang(times=None,path="/blobs/",methods=("HEAD",))
    with b.program("push","--target","tiny","--unsigned","--allow-unfit","--repo",t.proxy.place+"/other") as p:
        wait(p,lambda:h.struck>0); time.sleep(1)
        p.send_signal(signal.SIGINT); a=time.time(); d=publishkit.ended(p,400); print("PUSH",d.status,time.time()-a)
