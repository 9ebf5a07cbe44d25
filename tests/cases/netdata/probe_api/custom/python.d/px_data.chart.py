# probe: what a module returns, and values of odd types
from bases.FrameworkServices.SimpleService import SimpleService


class Service(SimpleService):
    O = [None, 't', 'u', 'f', 'x.c', 'line']

    def __init__(self, configuration=None, name=None):
        SimpleService.__init__(self, configuration=configuration, name=name)
        self.n = 0
        getattr(self, 'm_' + self.configuration['m'])()

    def check(self):
        return True

    def get_data(self):
        self.n += 1
        given = getattr(self, 'g_' + self.configuration['m'], lambda n: None)(self.n)
        return {'v': self.n, 'w': 2, 'x': 3, 1: 4, 'a b': 5, '': 6} if given is None else given

    def T(self, what, call):
        """Calls what may raise; the case compares what is printed, not what is raised."""
        try:
            return call()
        except Exception as error:
            return type(error)

    def base(self):
        self.order=['c','d']; self.definitions={'c':{'options':self.O,'lines':[['v'],['w']]},'d':{'options':self.O,'lines':[['v'],['x']]}}
    def m_od(self): self.base()
    def g_od(self,n): return __import__("collections").OrderedDict(v=n)
    def m_dd(self): self.base()
    def g_dd(self,n): return __import__("collections").defaultdict(int,v=n)
    def m_list(self): self.base()
    def g_list(self,n): return [1,2]
    def m_listp(self): self.base()
    def g_listp(self,n): return [("v",1)]
    def m_tup(self): self.base()
    def g_tup(self,n): return (1,)
    def m_str(self): self.base()
    def g_str(self,n): return "v"
    def m_trux(self): self.base()
    def g_trux(self,n): return True
    def m_int(self): self.base()
    def g_int(self,n): return 1
    def m_empty(self): self.base()
    def g_empty(self,n): return {}
    def m_mp(self): self.base()
    def g_mp(self,n): return __import__("types").MappingProxyType({"v":n})
    def m_ch(self): self.base()
    def g_ch(self,n): return __import__("collections").ChainMap({"v":n})
    def m_ud(self): self.base()
    def g_ud(self,n): return __import__("collections").UserDict({"v":n})
    def m_ctr(self): self.base()
    def g_ctr(self,n): return __import__("collections").Counter({"v":n})
    def m_nones(self): self.base()
    def g_nones(self,n): return {"v":None}
    def m_neg(self): self.base()
    def g_neg(self,n): return {"v":-n,"w":-0.5}
    def m_cplx(self): self.base()
    def g_cplx(self,n): return {"v":1j,"w":1}
    def m_dt(self): self.base()
    def g_dt(self,n): return {"v":__import__("datetime").datetime.now(),"w":1}
    def m_nest(self): self.base()
    def g_nest(self,n): return {"v":{"a":1},"w":1}
    def m_by(self): self.base()
    def g_by(self,n): return {"v":b"12","w":bytearray(b"3")}
    def m_tru(self): self.base()
    def g_tru(self,n): return {"v":True,"w":False}
    def m_fl(self): self.base()
    def g_fl(self,n): return {"v":1e15+0.9,"w":1e-9}
    def m_strs(self): self.base()
    def g_strs(self,n): return {"v":"12 ","w":"\n7\n","x":"-0"}
    def m_big(self): self.base()
    def g_big(self,n): return {"v":2**63,"w":-2**70,"x":2**64-1}
    def m_obj(self): self.base()
    def g_obj(self,n): return {"v":type("I",(),{"__int__":lambda s:5})(),"w":type("J",(),{"__index__":lambda s:6})(),"x":type("K",(),{"__float__":lambda s:7.5})()}
    def m_trunc(self): self.base()
    def g_trunc(self,n): return {"v":type("I",(),{"__trunc__":lambda s:5})(),"w":1}
    def m_extra(self): self.base()
    def g_extra(self,n): return {"v":1,"unknown":2,None:3}
    def m_zero(self): self.base()
    def g_zero(self,n): return {"v":0,"w":0.0,"x":"0"}
    def m_falsy(self): self.base()
    def g_falsy(self,n): return {"v":False}
    def m_arab(self): self.base()
    def g_arab(self,n): return {"v":"٤","w":1}
    def m_sub(self): self.base()
    def g_sub(self,n): return type("D",(dict,),{"__missing__":lambda s,k:42})(v=n)
    def m_set(self): self.base()
    def g_set(self,n): return {"v":{1},"w":1}
    def m_typ(self): self.base()
    def g_typ(self,n): return {"v":int,"w":1}
    def m_np(self): self.base()
    def g_np(self,n): return {"v":type("F",(float,),{})(2.9),"w":type("S",(str,),{})("8")}
    def m_enum(self): self.base()
    def g_enum(self,n): return {"v":__import__("enum").IntEnum("E","a b").b,"w":1}
    def m_td(self): self.base()
    def g_td(self,n): return {"v":__import__("datetime").timedelta(1),"w":1}
    def m_mv(self): self.base()
    def g_mv(self,n): return {"v":memoryview(b"5"),"w":2}
    def m_b1(self): self.base()
    def g_b1(self,n): return {b"v":1,"w":1}
